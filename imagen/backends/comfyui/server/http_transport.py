"""One HTTP request to ComfyUI and its answer; every failure is one of imagen's errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from imagen.errors import BackendUnavailable, CredentialError, OutcomeUnknown, RateLimited
from imagen.http.exchange import HttpAnswer, Limits, Unanswered, exchange
from imagen.http.loopback import is_loopback_url
from imagen.http.reading import read_json, read_retry_after_s
from imagen.http.session import new_session
from imagen.images.verify import MAX_IMAGE_BYTES

#: A look-up must not delay the next call of ``run.progress`` for long; a post may have to wait for
#: a server that is loading a model.
LOOK_LIMITS = Limits(connect_s=1.5, stall_s=2.5, whole_s=10.0)
POST_LIMITS = Limits(connect_s=3.0, stall_s=30.0, whole_s=60.0)
VIEW_LIMITS = Limits(connect_s=3.0, stall_s=20.0, whole_s=60.0)
# A queue of thousands of prompts comes with all their graphs.
_MAX_ANSWER_BYTES = 256 * 1024 * 1024
_LONGEST_WAIT_S = 600.0

_RUNNING_HINT = "is ComfyUI running? try: imagen doctor"
_HEADER_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.+)")
_SENDABLE = re.compile(r"[\x20-\x7e\t]+")


class Transport:
    """Requests to one server. Threads may share it; nothing is retried, redirects are refused."""

    def __init__(self, url: str, *, backend: str, headers: Mapping[str, str], headers_env: str):
        self.url = url
        self.who = f"backend {backend!r} at {url}"
        self._backend = backend
        self._headers_env = headers_env
        self._session = new_session(uses_proxies=not is_loopback_url(url), hosts=2, connections=16)
        self._session.headers.update(headers)

    def close(self) -> None:
        self._session.close()

    def get_json(self, path: str, *, limits: Limits = LOOK_LIMITS) -> dict[str, Any]:
        """The JSON object at ``path``.

        Raises:
            BackendUnavailable: no answer, or none of ComfyUI's.
            CredentialError: 401 or 403.
        """
        answer = self._ask("GET", path, limits)
        self.check(answer)
        data = json_object(answer)
        if data is None:
            self.not_comfyui(f"{path} is no JSON object")
        return data

    def order(self, path: str, body: Mapping[str, Any]) -> None:
        """Send an order. The answer is an empty 200 whether or not anything matched.

        Raises:
            BackendUnavailable: no answer, or none of ComfyUI's.
        """
        self.check(self._ask("POST", path, LOOK_LIMITS, json=body))

    def post_once(self, path: str, body: Mapping[str, Any]) -> HttpAnswer:
        """The answer, with a status below 500, to a request that may run twice when repeated.

        Raises:
            BackendUnavailable: it certainly never reached the server.
            OutcomeUnknown: it may have.
        """
        try:
            answer = self._exchange("POST", path, POST_LIMITS, json=body)
        except Unanswered as exc:
            if not exc.was_sent:
                raise self._unreachable(exc) from None
            raise self.unknown(f"no answer, {exc.reason}") from None
        if answer.status >= 500:
            raise self.unknown(f"it answered {answer.status}")
        return answer

    def download(self, path: str, params: Mapping[str, str]) -> bytes:
        """The bytes at ``path``, unverified, at most 64 MiB.

        Raises:
            BackendUnavailable: not there, cut short, or too large.
        """
        answer = self._ask("GET", path, VIEW_LIMITS, max_bytes=MAX_IMAGE_BYTES, params=params)
        if answer.status == 404:
            raise BackendUnavailable(f"{self.who} no longer has the image")
        self.check(answer)
        return answer.raw

    def _ask(self, method: str, path: str, limits: Limits, **options: Any) -> HttpAnswer:
        """The answer, whatever its status.

        Raises:
            BackendUnavailable: there was none.
        """
        try:
            return self._exchange(method, path, limits, **options)
        except Unanswered as exc:
            raise self._unreachable(exc) from None

    def _exchange(self, method: str, path: str, limits: Limits, **options: Any) -> HttpAnswer:
        options = {"max_bytes": _MAX_ANSWER_BYTES} | options
        return exchange(self._session, method, self.url + path, limits=limits, **options)

    def check(self, answer: HttpAnswer) -> None:
        """Return when the status is 200, or else raise what the status means."""
        status = answer.status
        if status == 200:
            return
        if status in (401, 403):
            raise CredentialError(f"{self.who} refused us with {status}", self._credential_hint())
        if status == 429:
            raise RateLimited(f"{self.who} answered 429", "", _asked_wait_s(answer))
        if status >= 500:
            raise BackendUnavailable(f"{self.who} answered {status}", _RUNNING_HINT)
        what = "redirects elsewhere" if 300 <= status < 400 else "answered"
        self.not_comfyui(f"it {what} with {status}")

    def not_comfyui(self, why: str) -> NoReturn:
        raise BackendUnavailable(
            f"{self.who} does not look like ComfyUI: {why}",
            "check the backend's url in the configuration",
        )

    def unknown(self, why: str) -> OutcomeUnknown:
        return OutcomeUnknown(f"{self.who} may or may not have queued the prompt: {why}")

    def _unreachable(self, exc: Unanswered) -> BackendUnavailable:
        return BackendUnavailable(
            f"backend {self._backend!r} not reachable at {self.url}: {exc.reason}", _RUNNING_HINT
        )

    def _credential_hint(self) -> str:
        if self._headers_env:
            return f"check the value of {self._headers_env}"
        return "a proxy wants credentials; name the variable that has them in headers_env"


def json_object(answer: HttpAnswer) -> dict[str, Any] | None:
    """The body as a JSON object, or None where it is anything else."""
    # Python's own JSON: a node's outputs or bounds may hold Infinity.
    data = read_json(answer.raw, parse_float=float, parse_constant=float)
    return data if isinstance(data, dict) else None


def _asked_wait_s(answer: HttpAnswer) -> float:
    """The seconds that ``Retry-After`` asks for, at most 600; 5 where it asks for none."""
    asked_s = read_retry_after_s(answer.headers)
    return 5.0 if asked_s is None else min(asked_s, _LONGEST_WAIT_S)


def read_headers(variable: str, env: Mapping[str, str]) -> dict[str, str]:
    """The headers that a reverse proxy wants: ``Name: value`` lines, or else a bearer token.

    Empty without a variable. Their values are in no message.

    Raises:
        CredentialError: the variable is not set, or its value cannot be sent.
    """
    if not variable:
        return {}
    value = env.get(variable, "").strip()
    if not value:
        raise CredentialError(
            f"environment variable {variable} (headers_env) is not set",
            f"set {variable} to the proxy's token or to 'Name: value' lines",
        )
    lines = [line.strip() for line in value.splitlines() if line.strip()]
    matches = [_HEADER_LINE.fullmatch(line) for line in lines]
    # Checked here because the error of requests would quote the value.
    if all(_SENDABLE.fullmatch(line) for line in lines):
        if all(matches):
            return {match[1]: match[2] for match in matches if match}
        if len(lines) == 1:
            return {"Authorization": f"Bearer {value}"}
    raise CredentialError(
        f"environment variable {variable} (headers_env) is neither a token nor 'Name: value' lines,"
        " or has characters that no header can carry",
        f"set {variable} to the proxy's token or to 'Name: value' lines, in plain ASCII",
    )
