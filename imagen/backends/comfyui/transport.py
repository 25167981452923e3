"""HTTP as this adapter speaks it: one request, one answer, every failure one of our errors."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import MaxRetryError, NewConnectionError

from imagen.errors import BackendUnavailable, CredentialError, OutcomeUnknown, RateLimited
from imagen.images.verify import MAX_IMAGE_BYTES

#: Seconds to connect and to wait for bytes. Looking things up must not keep a thread from its
#: progress tick for long; posting may have to wait for a server that is loading a model.
LOOK_TIMEOUT_S = (1.5, 2.5)
POST_TIMEOUT_S = (3.0, 30.0)
VIEW_TIMEOUT_S = (3.0, 20.0)

_RUNNING_HINT = "is ComfyUI running? try: imagen doctor"


class Transport:
    """Requests to one server. Threads may share it; nothing is retried, redirects are refused."""

    def __init__(self, url: str, *, backend: str, headers: Mapping[str, str], headers_env: str):
        self.url = url
        self.who = f"backend {backend!r} at {url}"
        self._backend = backend
        self._headers_env = headers_env
        self._session = requests.Session()
        self._session.headers.update(headers)
        # Loopback never goes through a proxy of the environment, and an Authorization header
        # of ours is not replaced by what ~/.netrc has for the host.
        self._session.trust_env = not is_loopback(url)
        self._session.auth = _leave_as_is
        adapter = HTTPAdapter(pool_connections=2, pool_maxsize=16, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        self._session.close()

    def get_json(
        self, path: str, *, timeout: tuple[float, float] = LOOK_TIMEOUT_S
    ) -> dict[str, Any]:
        """The JSON object at ``path``.

        Raises:
            BackendUnavailable: no answer, or none of ComfyUI's.
            CredentialError: 401 or 403.
        """
        try:
            answer = self._session.get(self.url + path, timeout=timeout, allow_redirects=False)
        except requests.RequestException as exc:
            raise self._unreachable(exc) from exc
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
        try:
            answer = self._session.post(
                self.url + path, json=body, timeout=LOOK_TIMEOUT_S, allow_redirects=False
            )
        except requests.RequestException as exc:
            raise self._unreachable(exc) from exc
        self.check(answer)

    def post_once(self, path: str, body: Mapping[str, Any]) -> requests.Response:
        """The answer to a request that must not be repeated blindly; below 500.

        Raises:
            BackendUnavailable: it certainly never reached the server.
            OutcomeUnknown: it may have.
        """
        try:
            answer = self._session.post(
                self.url + path, json=body, timeout=POST_TIMEOUT_S, allow_redirects=False
            )
        except requests.RequestException as exc:
            if _never_sent(exc):
                raise self._unreachable(exc) from exc
            raise self.unknown(f"no answer, {_reason(exc)}") from exc
        if answer.status_code >= 500:
            raise self.unknown(f"it answered {answer.status_code}")
        return answer

    def download(self, path: str, params: Mapping[str, str]) -> bytes:
        """The bytes at ``path``, unverified, at most 64 MiB.

        Raises:
            BackendUnavailable: not there, cut short, or too large.
        """
        try:
            with self._session.get(
                self.url + path,
                params=params,
                timeout=VIEW_TIMEOUT_S,
                allow_redirects=False,
                stream=True,
            ) as answer:
                if answer.status_code == 404:
                    raise BackendUnavailable(f"{self.who} no longer has the image")
                self.check(answer)
                return self._read_body(answer)
        except requests.RequestException as exc:
            raise self._unreachable(exc) from exc

    def check(self, answer: requests.Response) -> None:
        """Return when the status is 200, or else raise what the status means."""
        status = answer.status_code
        if status == 200:
            return
        if status in (401, 403):
            raise CredentialError(f"{self.who} refused us with {status}", self._credential_hint())
        if status == 429:
            raise RateLimited(f"{self.who} answered 429", "", _retry_after_s(answer))
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

    def _unreachable(self, exc: Exception) -> BackendUnavailable:
        return BackendUnavailable(
            f"backend {self._backend!r} not reachable at {self.url}: {_reason(exc)}", _RUNNING_HINT
        )

    def _credential_hint(self) -> str:
        if self._headers_env:
            return f"check the value of {self._headers_env}"
        return "a proxy wants credentials; name the variable that has them in headers_env"

    def _read_body(self, answer: requests.Response) -> bytes:
        parts, size_bytes = [], 0
        for part in answer.iter_content(64 * 1024):
            parts.append(part)
            size_bytes += len(part)
            if size_bytes > MAX_IMAGE_BYTES:
                raise BackendUnavailable(f"{self.who} sent over {MAX_IMAGE_BYTES:,} bytes")
        return b"".join(parts)


def is_loopback(url: str) -> bool:
    """Whether the url's host is this machine, by its name or number alone."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def json_object(answer: requests.Response) -> dict[str, Any] | None:
    """The body as a JSON object, or nothing where it is anything else."""
    try:
        data = answer.json()
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _leave_as_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _never_sent(exc: requests.RequestException) -> bool:
    """Whether the request certainly did not reach the server."""
    if isinstance(exc, (requests.ConnectTimeout, requests.exceptions.SSLError)):
        return True
    cause = exc.args[0] if exc.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)


def _reason(exc: Exception) -> str:
    """A few words; the library's own sentence names its internals and repeats the url."""
    text = repr(exc)
    if isinstance(exc, requests.exceptions.SSLError):
        return "its TLS certificate or protocol was not accepted"
    if isinstance(exc, requests.exceptions.ProxyError):
        return "the proxy of the environment cannot be used"
    if isinstance(exc, requests.Timeout):
        return "timed out"
    if "refused" in text:
        return "connection refused"
    if "resolve" in text or "getaddrinfo" in text:
        return "its host name cannot be resolved"
    if "unreachable" in text or "No route" in text:
        return "no route to it"
    return "the connection broke"


def _retry_after_s(answer: requests.Response) -> float:
    """What the proxy asked for, within reason; the header may also hold a date."""
    text = answer.headers.get("Retry-After", "")
    return min(float(text), 600.0) if text.isdigit() else 5.0
