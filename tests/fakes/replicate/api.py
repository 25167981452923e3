"""The API host of the fake Replicate."""

from __future__ import annotations

import base64
import json
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.fakes.http import RecordedRequest
from tests.fakes.replicate import catalogue
from tests.fakes.replicate.faults import FAULTS_BY_LABEL, Moment, ReplicateFault
from tests.fakes.replicate.http import ReplicateHandler
from tests.fakes.replicate.views import show
from tests.fakes.replicate.world import Made

_THROTTLED = (
    "Request was throttled. Your rate limit for creating predictions is reduced to 6 requests per"
    " minute with a burst of 1 requests while you have less than $5.0 in credit."
)
_NO_CREDIT = (
    "You have insufficient credit to run this model. Go to"
    " https://replicate.com/account/billing#billing to purchase credit."
)
_FORBIDDEN = "You do not have permission to run this model in your region."
_FIREWALL = b"<html><body><h1>Access denied</h1></body></html>"
_NESTED = b'{"id": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
_GATEWAY_TIMEOUT = b"<html><body><h1>504 Gateway Time-out</h1></body></html>"


class ApiHandler(ReplicateHandler):
    """``/v1`` and the controls below ``/_fake``."""

    host: ClassVar[str] = "api"
    #: Times of recent creates, for ``creates_per_minute``; the server's, so set per server.
    recent: ClassVar[deque[float]] = deque()

    def do_GET(self) -> None:
        parts, query = self._parts()
        if parts[:1] == ["_fake"]:
            return self._control_get(parts[1:])
        self.note()
        if not self._is_known():
            return self._refuse_token()
        if parts == ["v1", "account"]:
            return self.answer(200, {"type": "user", "username": "tester"})
        if parts[:2] == ["v1", "models"] and len(parts) in (4, 6):
            return self._get_model("/".join(parts[2:4]), parts[4:])
        if parts == ["v1", "predictions"]:
            return self._list(query)
        if parts[:2] == ["v1", "predictions"] and len(parts) == 3:
            return self._poll(parts[2])
        return self._not_found()

    def do_POST(self) -> None:
        self._asked_at = time.time()
        body = self.read_body()
        if len(body) < int(self.headers.get("Content-Length") or 0):
            # The client hung up before its body was here: nothing was asked for.
            return self.cut()
        parts, _ = self._parts()
        if parts[:1] == ["_fake"]:
            return self._control_post(parts[1:], json.loads(body or b"{}"))
        self.note(body)
        if not self._is_known():
            return self._refuse_token()
        if parts[:2] == ["v1", "models"] and parts[4:] == ["predictions"]:
            name = "/".join(parts[2:4])
            return self._create(
                name, json.loads(body), is_known=catalogue.is_callable_by_name(name)
            )
        if parts == ["v1", "predictions"]:
            asked = json.loads(body)
            name, _, version = str(asked.get("version", "")).partition(":")
            is_known = name in catalogue.VERSIONED and version == catalogue.PAINTER_VERSION
            return self._create(name, asked, is_known=is_known)
        if parts[:2] == ["v1", "predictions"] and parts[3:] == ["cancel"]:
            if body or self.headers.get("Content-Type"):
                return self._refuse_body()
            return self._cancel(parts[2])
        return self._not_found()

    def _create(self, model: str, asked: Mapping[str, Any], *, is_known: bool) -> None:
        fault = self.next_fault(Moment.CREATE)
        if self._is_over_limit():
            fault = ReplicateFault.THROTTLED
        if self._refuse(fault):
            return None
        if not is_known:
            return self._not_found()
        invalid = catalogue.refuse_input(model, asked.get("input"))
        if invalid:
            lines = "".join(f"- {one['field']}: {one['description']}\n" for one in invalid)
            return self.problem(422, "Input validation failed", lines, invalid_fields=invalid)
        late = fault is ReplicateFault.CREATED_AFTER_CUT
        one = self.stage.world.create(
            model,
            asked["input"],
            fault=self.next_fault(Moment.OUTCOME),
            asked_at=self._asked_at,
            delay_s=self.stage.world.late_s if late else 0.0,
            cancel_after_s=_seconds(self.headers.get("Cancel-After")),
        )
        return self._answer_created(one, fault)

    def _refuse(self, fault: ReplicateFault | None) -> bool:
        """Whether the fault kept the create call from creating; then it is answered."""
        wait_s = self.stage.retry_after_s
        match fault:
            case ReplicateFault.LOST_BEFORE_CREATION:
                self.cut()
            case ReplicateFault.ERROR_BEFORE_CREATION:
                self.problem(500, "Internal server error", "Something went wrong")
            case ReplicateFault.THROTTLED:
                body = {"detail": _THROTTLED, "status": 429, "retry_after": wait_s}
                self.answer(429, body)
            case ReplicateFault.THROTTLED_BY_HEADER:
                self.answer(429, {"status": 429}, {"Retry-After": f"{wait_s:g}"})
            case ReplicateFault.THROTTLED_BY_TEXT:
                detail = f"Request was throttled. Your rate limit resets in ~{wait_s:g}s."
                self.answer(429, {"detail": detail})
            case ReplicateFault.THROTTLED_SILENTLY:
                self.answer(429, {"detail": "Request was throttled."})
            case ReplicateFault.UNAUTHENTICATED:
                self._refuse_token()
            case ReplicateFault.FORBIDDEN:
                self.problem(403, "Forbidden", _FORBIDDEN)
            case ReplicateFault.FORBIDDEN_BY_FIREWALL:
                self.send(403, _FIREWALL, "text/html")
            case ReplicateFault.NO_CREDIT:
                self.problem(402, "Insufficient credit", _NO_CREDIT)
            case ReplicateFault.NOT_FOUND:
                self._not_found()
            case ReplicateFault.INVALID_INPUT:
                field = {"type": "enum", "field": "input.x", "description": "is not allowed"}
                detail = "- input.x: is not allowed\n"
                self.problem(422, "Input validation failed", detail, invalid_fields=[field])
            case _:
                return False
        return True

    def _answer_created(self, one: Made, fault: ReplicateFault | None) -> None:
        match fault:
            case ReplicateFault.LOST_AFTER_CREATION | ReplicateFault.CREATED_AFTER_CUT:
                self.cut()
            case ReplicateFault.ERROR_AFTER_CREATION:
                self.send(504, _GATEWAY_TIMEOUT, "text/html")
            case ReplicateFault.TORN_ANSWER:
                self.send(201, b'{"id": "', "application/json", announced_bytes=900)
            case ReplicateFault.NESTED_ANSWER:
                self.send(201, _NESTED, "application/json")
            case ReplicateFault.INFINITE_ANSWER:
                self.answer(201, show(one, self.stage) | {"metrics": {"total_time": float("inf")}})
            case ReplicateFault.UNREADABLE_ID:
                self.answer(201, show(one, self.stage) | {"id": "../\x00"})
            case ReplicateFault.HANG_AFTER_CREATION:
                time.sleep(self.stage.hang_s)
                self.answer(201, show(one, self.stage))
            case _:
                self.answer(201, show(one, self.stage), {"ratelimit-remaining": "599"})

    def _is_over_limit(self) -> bool:
        limit = self.stage.creates_per_minute
        if limit is None:
            return False
        now = time.monotonic()
        while self.recent and self.recent[0] < now - 60:
            self.recent.popleft()
        self.recent.append(now)
        return len(self.recent) > limit

    def _poll(self, prediction_id: str) -> None:
        match self.next_fault(Moment.POLL):
            case ReplicateFault.POLL_ERROR:
                return self.send(502, b"<html>Bad gateway</html>", "text/html")
            case ReplicateFault.POLL_LOST:
                return self.cut()
            case ReplicateFault.POLL_THROTTLED:
                return self.answer(429, {"retry_after": self.stage.retry_after_s})
            case ReplicateFault.POLL_UNKNOWN:
                return self._not_found()
            case ReplicateFault.POLL_NESTED:
                return self.send(200, _NESTED, "application/json")
            case ReplicateFault.POLL_TRICKLES:
                found = self.stage.world.find(prediction_id)
                return self.trickle(show(found, self.stage) if found else {})
        one = self.stage.world.find(prediction_id)
        if one is None:
            return self._not_found()
        self.stage.world.poll(one)
        return self.answer(200, show(one, self.stage))

    def _cancel(self, prediction_id: str) -> None:
        one = self.stage.world.find(prediction_id)
        if one is None:
            return self._not_found()
        match self.next_fault(Moment.CANCEL):
            case ReplicateFault.CANCEL_ERROR:
                return self.problem(500, "Internal server error", "Something went wrong")
            case ReplicateFault.CANCEL_LOST:
                return self.cut()
            case ReplicateFault.CANCEL_IGNORED:
                return self.answer(200, show(one, self.stage))
        self.stage.world.cancel(one)
        return self.answer(200, show(one, self.stage))

    def _list(self, query: Mapping[str, str]) -> None:
        match self.next_fault(Moment.LIST):
            case ReplicateFault.LIST_ERROR:
                return self.send(503, b"busy", "text/plain")
            case ReplicateFault.LIST_LOST:
                return self.cut()
            case ReplicateFault.LIST_NESTED:
                return self.send(200, _NESTED, "application/json")
            case ReplicateFault.LIST_WITH_BROKEN_CURSOR:
                return self.answer(200, {"next": "https://[::1?cursor=x", "results": []})
        if "cursor" in query:
            asked = json.loads(base64.urlsafe_b64decode(query["cursor"]))
        else:
            asked = {
                "after": _epoch(query.get("created_after"), 0.0),
                "before": _epoch(query.get("created_before"), float("inf")),
                "from": None,
            }
        shown = self.stage.world.listed(after=asked["after"], before=asked["before"])
        if asked["from"] is not None:
            shown = [one for one in shown if [-one.created_at, one.id] > asked["from"]]
        page, rest = shown[: self.stage.page_size], shown[self.stage.page_size :]
        following = None
        if rest:
            last = [-page[-1].created_at, page[-1].id]
            cursor = base64.urlsafe_b64encode(json.dumps(asked | {"from": last}).encode())
            following = f"{self._base()}/v1/predictions?{urlencode({'cursor': cursor.decode()})}"
        results = [show(one, self.stage) for one in page]
        return self.answer(200, {"previous": None, "next": following, "results": results})

    def _get_model(self, name: str, rest: list[str]) -> None:
        match self.next_fault(Moment.MODEL):
            case ReplicateFault.MODEL_ERROR:
                return self.send(503, b"busy", "text/plain")
            case ReplicateFault.MODEL_THROTTLED:
                return self.answer(429, {"retry_after": self.stage.retry_after_s})
        model = catalogue.describe_model(name)
        if model is None or (rest and rest != ["versions", model["latest_version"]["id"]]):
            return self._not_found()
        return self.answer(200, model["latest_version"] if rest else model)

    def _control_get(self, parts: list[str]) -> None:
        if parts == ["stats"]:
            return self.answer(200, self.stage.world.stats())
        if parts == ["requests"]:
            return self.answer(200, [_shown(call) for call in list(self.stage.world.calls)])
        return self._not_found()

    def _control_post(self, parts: list[str], asked: Mapping[str, Any]) -> None:
        if parts == ["inject"]:
            self.stage.faults.inject(FAULTS_BY_LABEL[asked["fault"]], int(asked.get("times", 1)))
            return self.answer(200, {})
        if parts == ["settings"]:
            world_settings = {"queue_s", "draw_s", "jitter", "list_lag_s", "late_s", "retention_s"}
            for name in world_settings & set(asked):
                setattr(self.stage.world, name, float(asked[name]))
            return self.answer(200, {})
        return self._not_found()

    def _parts(self) -> tuple[list[str], dict[str, str]]:
        split = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        return split.path.strip("/").split("/"), query

    def _base(self) -> str:
        return f"http://{self.headers.get('Host', '')}"

    def _is_known(self) -> bool:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return scheme == "Bearer" and token in self.stage.tokens

    def _refuse_token(self) -> None:
        self.problem(401, "Unauthenticated", "You did not pass a valid authentication token")

    def _refuse_body(self) -> None:
        # As Replicate's OpenAPI document behind Prism 5.14.2 does (observed 2026-11).
        self.problem(415, "The request body is not allowed", "no content type is accepted here")

    def _not_found(self) -> None:
        self.answer(404, {"detail": "The requested resource could not be found.", "status": 404})


def _shown(request: RecordedRequest) -> dict[str, Any]:
    return {
        "host": request.host,
        "method": request.method,
        "path": request.path,
        "headers": request.headers,
        "body": request.text,
    }


def _epoch(text: str | None, default: float) -> float:
    if text is None:
        return default
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _seconds(text: str | None) -> float | None:
    return float(text.removesuffix("s")) if text else None
