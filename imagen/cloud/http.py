"""HTTP for both clients: one request, one answer; a missing answer is a CloudError."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import requests

from imagen.cloud.settings import SupabaseSettings
from imagen.errors import CloudError
from imagen.http.exchange import HttpAnswer, Limits, Unanswered, exchange
from imagen.http.reading import read_json
from imagen.http.session import new_session

_CONNECT_TIMEOUT_S = 10.0
# A page of 1,000 rows of images with their sidecars is a few MiB.
_MAX_ANSWER_BYTES = 128 * 1024 * 1024
# The whole of a call may take this many times the longest silence, without its own body ...
_WHOLE_CALL_FACTOR = 4
# ... which gets the time that it needs on a slow line.
_SLOWEST_UPLOAD_BYTES_PER_S = 50_000
_HOSTS = 2
_CONNECTIONS = 16


class CloudHttp:
    """Calls below one path of the project; threads may share it, processes may not.

    Every call must be safe to make twice: one that finds its kept connection closed by the
    server is made again at once, on a new one. There are no other retries.
    """

    def __init__(self, settings: SupabaseSettings, base: str, *, name: str, read_timeout_s: float):
        self._base = f"{settings.url}{base}"
        self._who = f"{name} at {settings.url}"
        self._auth = _Key(settings)
        self._read_timeout_s = read_timeout_s
        self._session = new_session(
            uses_proxies=not settings.is_local, hosts=_HOSTS, connections=_CONNECTIONS
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Sequence[tuple[str, str]] = (),
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Send one request; the answer has any status. ``path`` is quoted already.

        Raises:
            CloudError: none arrived, or not the whole of it; retryable.
        """
        try:
            try:
                return self._send(method, path, params, data, headers)
            except Unanswered as exc:
                if not exc.was_cut:
                    raise
            return self._send(method, path, params, data, headers)
        except Unanswered as exc:
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
    ) -> HttpAnswer:
        size_bytes = len(data or b"")
        whole_s = self._read_timeout_s * _WHOLE_CALL_FACTOR
        return exchange(
            self._session,
            method,
            f"{self._base}{path}",
            limits=Limits(
                _CONNECT_TIMEOUT_S,
                self._read_timeout_s,
                whole_s + size_bytes / _SLOWEST_UPLOAD_BYTES_PER_S,
            ),
            max_bytes=_MAX_ANSWER_BYTES,
            params=list(params),
            # A stream goes out in small pieces, each of which may take as long as a silence.
            data=io.BytesIO(data) if data else None,
            headers=headers,
            auth=self._auth,
        )

    def _silence(self, exc: Unanswered) -> CloudError:
        return CloudError(
            f"{self._who} did not answer: {exc.reason}",
            "is SUPABASE_URL right, and the project not paused?",
            True,
        )


def read_body(answer: HttpAnswer) -> Any:
    """The answer's JSON, numbers with a point as Decimal; None where it is none."""
    return read_json(answer.raw, parse_float=Decimal)


def read_object(answer: HttpAnswer) -> dict[str, Any]:
    """The answer's JSON where it is an object, else an empty one."""
    body = read_body(answer)
    return body if isinstance(body, dict) else {}


class _Key(requests.auth.AuthBase):
    """Adds the key to one request; as its ``auth`` it also keeps ``~/.netrc`` out."""

    def __init__(self, settings: SupabaseSettings) -> None:
        self._settings = settings

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["apikey"] = self._settings.key
        # The new secret keys are no JWTs: as a bearer they are refused.
        # Source: supabase.com/docs/guides/api/api-keys (read 2026-11).
        if self._settings.key_is_jwt:
            request.headers["Authorization"] = f"Bearer {self._settings.key}"
        return request
