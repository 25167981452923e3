"""One call to Replicate's HTTP API; no call is repeated here, and no redirect is followed.

The token is read from the environment for each call and stands in the header of a call to
``base_url`` only: never in a session, an attribute or a message.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from imagen.backends.replicate.settings import ReplicateSettings
from imagen.errors import CredentialError
from imagen.http.deadline import boottime_s
from imagen.http.exchange import Limits, Unanswered, exchange
from imagen.http.reading import read_http_date, read_json
from imagen.http.session import new_session

# An answer may carry an image as a data URL; a larger one is refused.
_MAX_ANSWER_BYTES = 96 * 1024 * 1024
_HOSTS = 4
_CONNECTIONS = 64
_CONNECT_TIMEOUT_S = 10.0
# Without spaces and line breaks: the error of requests for a bad header quotes its value.
_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """A whole answer: ``body`` is the parsed JSON, None where the answer is not JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def fields(self) -> Mapping[str, Any]:
        """The body where it is a JSON object, else an empty object."""
        return self.body if isinstance(self.body, Mapping) else {}


class Client:
    """Calls with one account's token. Threads share it; a call ends within its ``timeout_s``."""

    def __init__(self, settings: ReplicateSettings, env: Mapping[str, str]) -> None:
        self._settings = settings
        self._env = env
        self._session = new_session(
            uses_proxies=not settings.is_local, hosts=_HOSTS, connections=_CONNECTIONS
        )
        self._clock_ahead_s: float | None = None

    @property
    def server(self) -> str:
        """The server whose prediction ids are unique, whichever token is used."""
        return self._settings.base_url

    def token(self) -> str:
        """The API token.

        Raises:
            CredentialError: the variable is unset or empty, or no HTTP header can hold its value.
        """
        name = self._settings.api_token_env
        token = self._env.get(name, "").strip()
        if not token:
            raise CredentialError(f"no Replicate token: {name} is not set", f"set {name}")
        if not _TOKEN.fullmatch(token):
            raise CredentialError(
                f"{name} holds characters that no token has", f"set {name} again, on one line"
            )
        return token

    def get(
        self, path: str, params: Mapping[str, str] | None = None, *, timeout_s: float
    ) -> ApiAnswer:
        """The answer to a GET below ``/v1``, whatever its status.

        Raises:
            Unanswered: no whole answer came in time.
            CredentialError: there is no usable token.
        """
        return self._call("GET", path, params=params, timeout_s=timeout_s)

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None,
        *,
        timeout_s: float,
        send_by_s: float = math.inf,
        headers: Mapping[str, str] | None = None,
    ) -> ApiAnswer:
        """The answer to a POST below ``/v1``; raises as ``get``. None as ``body`` sends no body.

        ``send_by_s`` is a time of ``boottime_s``. After it no byte of the body is sent, so a
        process that was suspended before it sent the body sends nothing when it resumes.
        """
        _require_in_time(send_by_s)
        if body is None:
            return self._call("POST", path, headers=headers, timeout_s=timeout_s)
        data = _TimedBody(json.dumps(body).encode(), send_by_s=send_by_s)
        headers = {"Content-Type": "application/json", **(headers or {})}
        return self._call("POST", path, data=data, headers=headers, timeout_s=timeout_s)

    def server_now(self) -> datetime:
        """Replicate's time: this host's clock, corrected by the ``Date`` of the last answer."""
        return datetime.now(UTC) + timedelta(seconds=self._clock_ahead_s or 0.0)

    @property
    def knows_server_time(self) -> bool:
        return self._clock_ahead_s is not None

    def close(self) -> None:
        self._session.close()

    def _call(
        self,
        method: str,
        path: str,
        *,
        timeout_s: float,
        params: Mapping[str, str] | None = None,
        data: _TimedBody | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ApiAnswer:
        token = self.token()
        limits = Limits(min(_CONNECT_TIMEOUT_S, timeout_s / 2), timeout_s, timeout_s)
        try:
            answer = exchange(
                self._session,
                method,
                f"{self._settings.base_url}/v1{path}",
                limits=limits,
                max_bytes=_MAX_ANSWER_BYTES,
                params=params,
                data=data,
                headers={"Authorization": f"Bearer {token}", **(headers or {})},
            )
        except Unanswered as exc:
            # Headers without the body create nothing.
            was_sent = data.was_read if data else True
            raise Unanswered(exc.reason, was_sent=was_sent) from None
        self._note_time(answer.headers)
        # Messages quote answers, and an answer may quote the token.
        raw = answer.raw.replace(token.encode(), b"[token]")
        return ApiAnswer(answer.status, answer.headers, read_json(raw))

    def _note_time(self, headers: Mapping[str, str]) -> None:
        there = read_http_date(headers.get("Date"))
        if there is not None:
            self._clock_ahead_s = (there - datetime.now(UTC)).total_seconds()


def _require_in_time(send_by_s: float) -> None:
    if boottime_s() > send_by_s:
        raise Unanswered("the call came too late to be sent", was_sent=False)


class _TimedBody:
    """A request body that is handed out until ``send_by_s`` only, and knows whether it was."""

    def __init__(self, data: bytes, *, send_by_s: float) -> None:
        self._data = data
        self._rest = data
        self._send_by_s = send_by_s
        self.was_read = False

    def __len__(self) -> int:
        return len(self._data)

    # requests takes an object with ``__iter__`` for a stream; urllib3 then calls ``read``.
    def __iter__(self) -> Iterator[bytes]:
        yield self.read()

    def read(self, size: int = -1) -> bytes:
        if not self.was_read:
            _require_in_time(self._send_by_s)
        self.was_read = True
        size = len(self._rest) if size < 0 else size
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece
