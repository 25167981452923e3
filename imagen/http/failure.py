"""Why an exchange failed, in fixed words: the libraries' own texts may quote what was sent."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import requests
from urllib3.exceptions import NameResolutionError, ProtocolError, SSLError

_BY_NUMBER = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset by peer",
    errno.EHOSTUNREACH: "no route to it",
    errno.ENETUNREACH: "no route to it",
    errno.ETIMEDOUT: "timed out",
}
# A chain of causes has a few errors; this bound ends a circular one.
_MOST_CAUSES = 20


def describe_failure(exc: BaseException) -> str:
    """The reason as half a sentence, without address, headers or body."""
    if isinstance(exc, requests.exceptions.SSLError | SSLError):
        return "no secure connection (is its certificate valid?)"
    if isinstance(exc, requests.exceptions.ProxyError):
        return "the proxy of the environment did not let it through"
    if isinstance(exc, requests.ConnectTimeout):
        return "no connection in time"
    for cause in _causes(exc):
        if isinstance(cause, NameResolutionError | socket.gaierror):
            return "its host name cannot be resolved"
        if isinstance(cause, requests.Timeout | TimeoutError):
            return "timed out"
        if isinstance(cause, OSError) and cause.errno in _BY_NUMBER:
            return _BY_NUMBER[cause.errno]
    return "the connection broke"


def is_cut(exc: BaseException) -> bool:
    """Whether an established connection broke: not a refusal to connect, not a time-out."""
    if isinstance(exc, ProtocolError):
        return True
    cause = exc.args[0] if exc.args else None
    return isinstance(exc, requests.ConnectionError) and isinstance(cause, ProtocolError)


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """``exc`` and the errors inside it: urllib3 keeps them as argument, reason or cause."""
    cause: BaseException | None = exc
    for _ in range(_MOST_CAUSES):
        if cause is None:
            return
        yield cause
        wrapped = next((arg for arg in cause.args if isinstance(arg, BaseException)), None)
        reason = getattr(cause, "reason", None)
        inner = reason if isinstance(reason, BaseException) else wrapped
        cause = inner or cause.__cause__ or cause.__context__
