"""Replicate's HTTP API, one call at a time: nothing is retried here, and nothing is redirected.

The token is read from the environment for each call, put into the header of a call to
``base_url``, and kept nowhere else: not in a session, an attribute or a message.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from imagen import __version__
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.errors import CredentialError

# An answer may carry an image as a data URL; anything larger is no answer of this API.
_MAX_ANSWER_BYTES = 96 * 1024 * 1024
_POOL_SIZE = 64
_CONNECT_TIMEOUT_S = 10.0
# No visible space and no line break: requests would repeat a bad header's value in its error.
_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)


def boottime_s() -> float:
    """Seconds on a clock that goes on while the process, or the machine, is stopped."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Unanswered(Exception):
    """A call got no whole answer.

    ``was_sent``: its body may have reached the server. Where not, nothing can have come of it.
    """

    def __init__(self, reason: str, *, was_sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.was_sent = was_sent


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: ``body`` is the parsed JSON, or nothing where it was none."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Client:
    """Calls to one account. Threads share it; each call blocks at most its ``timeout_s``."""

    def __init__(self, settings: ReplicateSettings, env: Mapping[str, str]) -> None:
        self._settings = settings
        self._env = env
        self._session = new_session(uses_proxies=not settings.is_local)
        self._clock_ahead_s: float | None = None

    @property
    def place(self) -> str:
        """Where predictions live: ids are unique below it, whichever token is used."""
        return self._settings.base_url

    def token(self) -> str:
        """The API token.

        Raises:
            CredentialError: the variable is unset, empty, or holds what no header can carry.
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
    ) -> Answer:
        """The answer to a GET below ``/v1``, whatever its status.

        Raises:
            Unanswered: none came in time.
            CredentialError: there is no token.
        """
        return self._call("GET", path, params=params, timeout_s=timeout_s)

    def post(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        timeout_s: float,
        send_by_s: float = math.inf,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer to a POST below ``/v1``; as ``get``.

        ``send_by_s`` is on ``boottime_s``'s clock: past it the body is not handed out any more,
        so a process that was stopped on its way here sends nothing when it wakes up.
        """
        data = _Body(json.dumps(body).encode(), send_by_s=send_by_s)
        headers = {"Content-Type": "application/json", **(headers or {})}
        return self._call("POST", path, data=data, headers=headers, timeout_s=timeout_s)

    def server_now(self) -> datetime:
        """The provider's time: this host's clock, corrected by the last answer's ``Date``."""
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
        data: _Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        auth = _Bearer(self.token())
        deadline_s = boottime_s() + timeout_s
        connect_timeout_s = min(_CONNECT_TIMEOUT_S, timeout_s / 2)
        try:
            with self._session.request(
                method,
                f"{self._settings.base_url}/v1{path}",
                params=params,
                data=data,
                headers=headers,
                auth=auth,
                timeout=(connect_timeout_s, timeout_s - connect_timeout_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                self._note_time(response)
                raw = read_bounded(response, _MAX_ANSWER_BYTES, deadline_s=deadline_s)
        except _Late:
            raise Unanswered("the call came too late to be sent", was_sent=False) from None
        except (requests.RequestException, OSError, Overlong) as exc:
            was_sent = data.was_handed_out if data else True
            raise Unanswered(describe_failure(exc), was_sent=was_sent) from None
        return Answer(response.status_code, response.headers, _parse(raw))

    def _note_time(self, response: requests.Response) -> None:
        try:
            there = parsedate_to_datetime(response.headers.get("Date", ""))
        except ValueError:
            return
        if there.tzinfo is not None:
            self._clock_ahead_s = (there - datetime.now(UTC)).total_seconds()


class _Bearer(requests.auth.AuthBase):
    """Signs one request. Being given at all, it also keeps ``~/.netrc`` out of it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Late(Exception):
    """The moment to send had passed."""


class _Body:
    """A request body that knows whether it was asked for: headers alone create nothing."""

    def __init__(self, data: bytes, *, send_by_s: float) -> None:
        self._data = data
        self._rest = data
        self._send_by_s = send_by_s
        self.was_handed_out = False

    def __len__(self) -> int:
        return len(self._data)

    # Only for requests to see a stream in it; urllib3 uses ``read``.
    def __iter__(self) -> Iterator[bytes]:
        yield self.read()

    def read(self, size: int = -1) -> bytes:
        if not self.was_handed_out and boottime_s() > self._send_by_s:
            raise _Late
        self.was_handed_out = True
        size = len(self._rest) if size < 0 else size
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


class Overlong(Exception):
    """An answer went on past its size or its time."""


def new_session(*, uses_proxies: bool) -> requests.Session:
    """A session that threads may share: it keeps no cookies and retries nothing."""
    session = requests.Session()
    session.trust_env = uses_proxies
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = f"imagen/{__version__}"
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=_POOL_SIZE, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def read_bounded(
    response: requests.Response,
    max_bytes: int,
    *,
    deadline_s: float,
    each: Callable[[], None] = lambda: None,
) -> bytes:
    """The whole body; ``each`` is called between pieces.

    Raises:
        Overlong: it is larger than ``max_bytes`` or not over by ``deadline_s`` (boot time).
        requests.RequestException: the connection broke, also before the announced length.
    """
    pieces, size_bytes = [], 0
    for piece in response.iter_content(64 * 1024):
        pieces.append(piece)
        size_bytes += len(piece)
        if size_bytes > max_bytes:
            raise Overlong(f"the answer is larger than {max_bytes:,} bytes")
        if boottime_s() > deadline_s:
            raise Overlong("the answer took too long")
        each()
    return b"".join(pieces)


def describe_failure(exc: BaseException) -> str:
    """Why a call failed, in a few words of our own: foreign texts may quote what was sent."""
    if isinstance(exc, Overlong):
        return str(exc)
    if isinstance(exc, requests.exceptions.SSLError):
        return "no secure connection (is the certificate valid?)"
    if isinstance(exc, requests.exceptions.ProxyError):
        return "the proxy did not let it through"
    if isinstance(exc, requests.ConnectTimeout):
        return "no connection in time"
    if isinstance(exc, requests.Timeout):
        return "no answer in time"
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = _inner(cause)
    return "the connection broke"


def _inner(exc: BaseException) -> BaseException | None:
    wrapped = [arg for arg in exc.args if isinstance(arg, BaseException)]
    reason = getattr(exc.args[0], "reason", None) if exc.args else None
    found = reason if isinstance(reason, BaseException) else next(iter(wrapped), None)
    return found or exc.__cause__ or exc.__context__


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None
