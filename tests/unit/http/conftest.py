"""Servers that say exactly what a test tells them to, as slowly as it likes."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import requests

from imagen.http.session import new_session

#: A key and a certificate for 127.0.0.1 that nothing but these tests trusts.
CERTIFICATE = Path(__file__).with_name("loopback.pem")

#: What is sent, and the seconds to wait after each byte of it (0: all at once).
Part = tuple[bytes, float]


class ScriptedServer:
    """Answers each request of each connection with the same parts, until the client hangs up.

    A request with the header ``X: cut`` is the last one of its connection.
    """

    def __init__(self, parts: Sequence[Part], *, tls: bool, reads: bool = True) -> None:
        self._parts = parts
        self._reads = reads
        self._context: ssl.SSLContext | None = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(CERTIFICATE)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self.connections = 0
        self.requests: list[bytes] = []
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._socket.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._over.set()
        # Closing alone does not wake a thread that accepts.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not self._reads:
                self._over.wait()
                return
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                while request := _read_request(connection):
                    self.requests.append(request)
                    self._answer(connection)
                    if b"X: cut" in request:
                        return

    def _answer(self, connection: socket.socket) -> None:
        for data, wait_s in self._parts:
            pieces = [data] if not wait_s else [bytes([byte]) for byte in data]
            for piece in pieces:
                connection.sendall(piece)
                if wait_s and self._over.wait(wait_s):
                    return


def _read_request(connection: socket.socket) -> bytes:
    seen = b""
    while not seen.endswith(b"\r\n\r\n"):
        piece = connection.recv(4096)
        if not piece:
            return b""
        seen += piece
    return seen


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    """Starts servers that end with the test."""
    started: list[ScriptedServer] = []

    def _serve(*parts: Part, tls: bool = False, reads: bool = True) -> ScriptedServer:
        started.append(ScriptedServer(parts, tls=tls, reads=reads))
        return started[-1]

    yield _serve
    for server in started:
        server.close()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A session that trusts the servers' certificate."""
    made = new_session(uses_proxies=False, hosts=2, connections=4)
    made.verify = str(CERTIFICATE)
    yield made
    made.close()
