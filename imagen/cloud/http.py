"""HTTP as both clients speak it: one request, one answer, every silence a CloudError."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ProtocolError

from imagen import __version__
from imagen.cloud.settings import SupabaseSettings
from imagen.errors import CloudError

_CONNECT_TIMEOUT_S = 10.0
# A page of 1,000 images rows with their sidecars is a few MiB.
_MAX_ANSWER_BYTES = 128 * 1024 * 1024
# How much longer than a single silence a whole answer may take to come in.
_WHOLE_ANSWER_FACTOR = 4
_POOL_SIZE = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. ``body`` is the parsed JSON, numbers with a point as Decimal, or nothing."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        try:
            return json.loads(self.raw, parse_float=Decimal)
        except (ValueError, RecursionError):
            return None


class CloudHttp:
    """Calls below one path of the project; threads may share it, processes may not.

    Every call must be safe to make twice: one that finds its kept connection closed by the
    server is made again at once, on a new one. Nothing else is retried.
    """

    def __init__(self, settings: SupabaseSettings, base: str, *, name: str, read_timeout_s: float):
        self._base = f"{settings.url}{base}"
        self._who = f"{name} at {settings.url}"
        self._auth = _Key(settings)
        self._read_timeout_s = read_timeout_s
        self._session = _new_session(uses_proxies=not settings.is_local)

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Sequence[tuple[str, str]] = (),
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer, whatever its status. ``path`` comes quoted.

        Raises:
            CloudError: there was none, or not the whole of it; retryable.
        """
        try:
            try:
                return self._send(method, path, params, data, headers)
            except requests.RequestException as exc:
                if not _is_cut(exc):
                    raise
            return self._send(method, path, params, data, headers)
        except (requests.RequestException, OSError, _Overlong) as exc:
            # "from None": the library's own error quotes the address, and may quote more.
            raise self._silence(exc) from None

    def close(self) -> None:
        self._session.close()

    def _send(
        self,
        method: str,
        path: str,
        params: Sequence[tuple[str, str]],
        data: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        with self._session.request(
            method,
            f"{self._base}{path}",
            params=list(params),
            # A stream goes out in small pieces, each with the time limit to itself; bytes would
            # have to be gone as a whole within the limit for connecting.
            data=io.BytesIO(data) if data else None,
            headers=headers,
            auth=self._auth,
            timeout=(_CONNECT_TIMEOUT_S, self._read_timeout_s),
            allow_redirects=False,
            stream=True,
        ) as response:
            deadline_s = time.monotonic() + self._read_timeout_s * _WHOLE_ANSWER_FACTOR
            raw = _read_bounded(response, deadline_s=deadline_s)
            return Answer(response.status_code, response.headers, raw)

    def _silence(self, exc: Exception) -> CloudError:
        reason = _describe(exc)
        return CloudError(
            f"{self._who} did not answer: {reason}",
            "is SUPABASE_URL right, and the project not paused?",
            True,
        )


class _Key(requests.auth.AuthBase):
    """Signs one request. Being given at all, it also keeps ``~/.netrc`` out of it."""

    def __init__(self, settings: SupabaseSettings) -> None:
        self._settings = settings

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["apikey"] = self._settings.key
        # The new secret keys are no JWTs: as a bearer they are refused.
        # Source: supabase.com/docs/guides/api/api-keys (read 2026-11).
        if self._settings.key_is_jwt:
            request.headers["Authorization"] = f"Bearer {self._settings.key}"
        return request


class _Overlong(Exception):
    """An answer went on past its size or its time."""


def _new_session(*, uses_proxies: bool) -> requests.Session:
    """A session that threads may share: it keeps no cookies and retries nothing."""
    session = requests.Session()
    session.trust_env = uses_proxies
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # Secret keys are refused where the User-Agent looks like a browser's.
    session.headers["User-Agent"] = f"imagen/{__version__}"
    adapter = HTTPAdapter(pool_connections=2, pool_maxsize=_POOL_SIZE, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _read_bounded(response: requests.Response, *, deadline_s: float) -> bytes:
    pieces, size_bytes = [], 0
    for piece in response.iter_content(64 * 1024):
        pieces.append(piece)
        size_bytes += len(piece)
        if size_bytes > _MAX_ANSWER_BYTES:
            raise _Overlong("the answer is too large")
        if time.monotonic() > deadline_s:
            raise _Overlong("the answer took too long")
    return b"".join(pieces)


def _is_cut(exc: requests.RequestException) -> bool:
    """Whether a connection that stood broke off: not a refusal to connect, not a silence."""
    if isinstance(exc, requests.exceptions.ChunkedEncodingError):
        return True
    cause = exc.args[0] if exc.args else None
    return isinstance(exc, requests.ConnectionError) and isinstance(cause, ProtocolError)


def _describe(exc: BaseException) -> str:
    """Why there was no answer, in a few words of our own: foreign texts quote what was sent."""
    if isinstance(exc, _Overlong):
        return str(exc)
    if isinstance(exc, requests.exceptions.SSLError):
        return "no secure connection (its certificate was not accepted)"
    if isinstance(exc, requests.exceptions.ProxyError):
        return "the proxy did not let it through"
    if isinstance(exc, requests.ConnectTimeout):
        return "no connection in time"
    text = repr(exc)
    if "timed out" in text:
        return "timed out"
    if "refused" in text:
        return "connection refused"
    if "resolve" in text or "getaddrinfo" in text:
        return "its host name cannot be resolved"
    if "unreachable" in text or "No route" in text:
        return "no route to it"
    return "the connection broke"
