"""What the fake servers share: HTTP on loopback that can be cut off at will, recorded requests."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request as it was received, whatever the answer was.

    Attributes:
        host: which of several servers of one fake received it.
        path: with its query where ``query`` is empty.
        headers: by their names as sent, or in lower case, as the fake says.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    query: tuple[tuple[str, str], ...] = ()
    host: str = ""

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class LoopbackServer(ThreadingHTTPServer):
    """A threaded server that can close every connection it has, as a crash would.

    It has its port once it is made, and serves from ``start`` to ``stop``, once.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self, handler: type[BaseHTTPRequestHandler], *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__((host, port), handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close the port and cut every connection."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._open_lock:
            connections = list(self._open)
        for connection in connections:
            hang_up(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: clients that hang up are expected."""


class FakeHandler(BaseHTTPRequestHandler):
    """One connection to a fake. Subclasses define ``do_GET`` and the like."""

    protocol_version = "HTTP/1.1"
    # Otherwise a small answer waits for the client's delayed acknowledgement.
    disable_nagle_algorithm = True
    # Buffered, so that headers and body leave together; flushed after each answer.
    wbufsize = -1

    def read_body(self) -> bytes:
        """The whole body; shorter than announced where the client hangs up."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def send(
        self,
        status: int,
        data: bytes = b"",
        content_type: str = "application/json; charset=utf-8",
        *,
        headers: Mapping[str, str] | None = None,
        announced_bytes: int | None = None,
    ) -> None:
        """Send an answer; one that announces more bytes than it has ends cut off.

        ``data`` is left out of the answer to a HEAD, its length is not.
        """
        self.send_response(status)
        length = len(data) if announced_bytes is None else announced_bytes
        # One of the same name in ``headers`` replaces it.
        usual = {"Content-Type": content_type, "Content-Length": str(length)}
        for name, value in {**usual, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        if announced_bytes is not None:
            self.cut()

    def cut(self) -> None:
        """Close the connection without a further byte."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
        hang_up(self.connection)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the fakes record requests instead."""


def hang_up(connection: socket.socket) -> None:
    """End a connection as the death of the server does."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
