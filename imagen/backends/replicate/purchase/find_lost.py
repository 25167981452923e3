"""Finds, in the provider's list, what a create call with a lost answer may have created."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from imagen.backends.replicate.api.client import ApiAnswer, Client
from imagen.backends.replicate.api.predictions import Prediction, read_prediction
from imagen.backends.replicate.api.rate_gate import RateGate, Tick, pause
from imagen.errors import OutcomeUnknown, RateLimited
from imagen.http.deadline import boottime_s
from imagen.http.exchange import Unanswered

_CALL_TIMEOUT_S = 30.0
_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 15.0
# 100 a page at 600 creates a minute is six pages a minute; an hour of it is the most there is.
_MAX_PAGES = 500
_LOOK_AGAIN_S = 30.0
_HINT = "look at https://replicate.com/predictions before: imagen jobs retry"


@dataclass(frozen=True, slots=True)
class CreateCall:
    """What is to be created: the call's path, its body, and how to recognise the result.

    The body may hold secrets, which ``inputs`` never do: no list tells them.
    """

    path: str
    body: Mapping[str, Any] = field(repr=False)
    model: str
    version: str | None
    inputs: Mapping[str, Any]
    #: Texts that no message may quote.
    private: tuple[str, ...] = field(default=(), repr=False)

    @property
    def listed_inputs(self) -> Mapping[str, Any]:
        """The inputs that the provider's list tells: it leaves out files given as data URLs.

        Source: Replicate's staff in replicate/inpainter#1 (read 2026-11).
        """
        return {name: value for name, value in self.inputs.items() if not _holds_file(value)}

    @property
    def key(self) -> str:
        """Equal for orders that the provider's list cannot tell apart."""
        told = json.dumps([self.model, self.version, self.listed_inputs], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What one walk through the list showed.

    Attributes:
        matches: predictions of this very order, the oldest first.
        erased: ids of predictions of the same model whose input is gone: any may be ours.
    """

    matches: tuple[Prediction, ...]
    erased: tuple[str, ...]


class PredictionSearch:
    """Walks the list of predictions. Slow, and only used when an answer was lost."""

    def __init__(self, client: Client, gate: RateGate, *, patience_s: float) -> None:
        self._client = client
        self._gate = gate
        self._patience_s = patience_s

    def find(
        self, order: CreateCall, *, since: datetime, until: datetime | None, tick: Tick
    ) -> SearchResult:
        """Predictions of ``order`` created from ``since`` (to ``until``), the provider's time.

        Raises:
            OutcomeUnknown: the list could not be read to its end.
        """
        matches: dict[str, Prediction] = {}
        erased: dict[str, None] = {}
        for listed in self._walk(since, until, tick):
            if not _is_of_model(listed, order):
                continue
            prediction = self._with_inputs(listed, tick)
            if prediction.inputs is None or prediction.is_removed:
                erased[prediction.id] = None
            elif _holds(prediction.inputs, order.listed_inputs):
                matches[prediction.id] = prediction
        return SearchResult(tuple(sorted(matches.values(), key=_age_key)), tuple(erased))

    def sync_clock(self, tick: Tick) -> None:
        """Learn the provider's time, if no answer has told it yet."""
        if not self._client.knows_server_time:
            self._get("/account", {}, tick)

    def _walk(self, since: datetime, until: datetime | None, tick: Tick) -> Iterator[Prediction]:
        params = {"created_after": since.isoformat()}
        if until is not None:
            params["created_before"] = until.isoformat()
        for _ in range(_MAX_PAGES):
            page = self._get("/predictions", params, tick).body
            results = page.get("results") if isinstance(page, Mapping) else None
            if not isinstance(results, list):
                raise OutcomeUnknown(
                    "Replicate's list of predictions could not be read", _HINT, _LOOK_AGAIN_S
                )
            yield from filter(None, map(read_prediction, results))
            following = page.get("next")
            if not isinstance(following, str) or not following:
                return
            # Only the cursor is taken from it: the token goes to no host that an answer names.
            params = _query_of(following)
        raise OutcomeUnknown("Replicate's list of predictions is too long to look through", _HINT)

    def _with_inputs(self, listed: Prediction, tick: Tick) -> Prediction:
        if listed.inputs is not None or listed.is_removed:
            return listed
        return read_prediction(self._get(f"/predictions/{listed.id}", {}, tick).body) or listed

    def _get(self, path: str, params: Mapping[str, str], tick: Tick) -> ApiAnswer:
        """The successful answer to a GET, asked for until ``patience_s`` is over."""
        gives_up_s = boottime_s() + self._patience_s
        backoff_s = _FIRST_BACKOFF_S
        while True:
            try:
                self._gate.wait("call", tick)
                answer = self._client.get(path, params, timeout_s=_CALL_TIMEOUT_S)
                if answer.is_success and answer.body is not None:
                    return answer
                reason, is_final = f"it answered {answer.status}", _is_final(answer)
            except (Unanswered, RateLimited) as exc:
                reason, is_final = str(exc), False
            if is_final or boottime_s() + backoff_s > gives_up_s:
                raise OutcomeUnknown(
                    "an answer of Replicate was lost, and its list of predictions cannot be"
                    f" read: {reason}",
                    _HINT,
                    _LOOK_AGAIN_S,
                )
            pause(backoff_s, tick)
            backoff_s = min(backoff_s * 2, _LONGEST_BACKOFF_S)


def _query_of(url: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(urlsplit(url).query))
    except ValueError:
        raise OutcomeUnknown(
            "Replicate's list of predictions could not be read", _HINT, _LOOK_AGAIN_S
        ) from None


def _is_final(answer: ApiAnswer) -> bool:
    return 300 <= answer.status < 500 and answer.status not in (408, 425, 429)


def _is_of_model(prediction: Prediction, order: CreateCall) -> bool:
    if prediction.model and prediction.model.partition(":")[0].lower() != order.model.lower():
        return False
    # Official models answer "hidden" (sometimes "dp-…") for their version.
    is_told = len(prediction.version) == 64
    return order.version is None or not is_told or prediction.version == order.version


def _holds_file(value: Any) -> bool:
    if isinstance(value, str):
        return value[:5].lower() == "data:"
    if isinstance(value, Mapping):
        return any(map(_holds_file, value.values()))
    return isinstance(value, list) and any(map(_holds_file, value))


def _holds(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether a prediction was made with our inputs; defaults may have been filled in."""
    return all(name in theirs and theirs[name] == value for name, value in ours.items())


def _age_key(prediction: Prediction) -> tuple[float, str]:
    created_at = prediction.created_at
    return (created_at.timestamp() if created_at else 0.0, prediction.id)
