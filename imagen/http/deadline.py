"""Connections that keep one deadline for a whole exchange: TLS, headers, body and trailers.

The timeouts of requests and urllib3 are per ``recv``: a server that sends one byte a second is
never late for them. Here every read and write of the socket gets the time that is left until the
deadline, at most. It needs no thread and works below TLS as well: one ``SSL_read`` or
handshake counts its timeout as a whole.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


def boottime_s() -> float:
    """Seconds on a clock that goes on while the process, or the machine, is stopped."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Deadline:
    """When an exchange must be over, and how long one silence in it may last.

    ``was_sent`` becomes true once a part of the request may have reached a server, and
    ``has_begun`` once a part of the answer has arrived.
    """

    def __init__(self, whole_s: float, *, stall_s: float) -> None:
        self._ends_s = boottime_s() + whole_s
        self._stall_s = stall_s
        self.was_sent = False
        self.has_begun = False

    @property
    def is_over(self) -> bool:
        return boottime_s() >= self._ends_s

    def limit(self, sock: socket.socket) -> None:
        """Give the socket's next operation the time that is left.

        Raises:
            TimeoutError: none is left.
        """
        left_s = self._ends_s - boottime_s()
        if left_s <= 0:
            raise TimeoutError("the deadline of the exchange is over")
        sock.settimeout(min(left_s, self._stall_s))


# The connection is many calls below the one that knows the deadline, on the same thread.
_current: ContextVar[Deadline | None] = ContextVar("imagen_http_deadline", default=None)


@contextmanager
def keeping(deadline: Deadline) -> Iterator[None]:
    """Apply the deadline to this thread's exchanges over ``DeadlineAdapter`` within the block."""
    token = _current.set(deadline)
    try:
        yield
    finally:
        _current.reset(token)


class _LimitedReader(io.RawIOBase):
    """A socket's incoming bytes; each read has the time until the deadline, at most."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._deadline.limit(self._sock)
        size_bytes = self._raw.readinto(buffer)
        self._deadline.has_begun = True
        return size_bytes

    def close(self) -> None:
        self._raw.close()
        super().close()


class _LimitedResponse(http.client.HTTPResponse):
    """An answer whose headers and body are read by a deadline."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        deadline = _current.get()
        if deadline is not None:
            raw = self.fp.detach()
            self.fp = io.BufferedReader(_LimitedReader(raw, sock, deadline))


class _LimitedHTTPConnection(HTTPConnection):
    response_class = _LimitedResponse

    def send(self, data: Any) -> None:
        _connect_and_limit(self)
        super().send(data)


class _LimitedHTTPSConnection(HTTPSConnection):
    response_class = _LimitedResponse

    def send(self, data: Any) -> None:
        _connect_and_limit(self)
        super().send(data)


def _connect_and_limit(connection: HTTPConnection) -> None:
    deadline = _current.get()
    if deadline is None:
        return
    if connection.sock is None:
        connection.connect()
    deadline.was_sent = True
    deadline.limit(connection.sock)


class _LimitedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _LimitedHTTPConnection


class _LimitedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _LimitedHTTPSConnection


_POOLS = {"http": _LimitedHTTPPool, "https": _LimitedHTTPSPool}


class DeadlineAdapter(HTTPAdapter):
    """An adapter of requests whose connections keep the deadline of ``keeping``.

    Connections through a SOCKS proxy do not: requests makes them with another package.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager
