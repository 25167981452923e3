"""What both hosts of the fake Replicate speak: HTTP that can be cut off at will."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from tests.fakes.replicate.faults import Fault, Moment, Script
from tests.fakes.replicate.world import Call, World


@dataclass
class Stage:
    """What the handlers of one fake share.

    Attributes:
        delivery_url: where outputs are.
        tokens: the accepted ones.
        retry_after_s: what a 429 asks for; ``hang_s``: how long an answer that hangs takes;
            ``trickle_s``: the time between two bytes of one that trickles.
        creates_per_minute: a real limit on creating, or nothing.
        page_size: of the list.
    """

    world: World
    script: Script
    tokens: tuple[str, ...]
    delivery_url: str = ""
    retry_after_s: float = 0.2
    hang_s: float = 2.0
    trickle_s: float = 1.0
    creates_per_minute: int | None = None
    page_size: int = 100


class Server(ThreadingHTTPServer):
    """A threaded server that can close every connection it has, as a crash would."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, handler: type[Handler], stage: Stage) -> None:
        self.stage = stage
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._open_lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up is part of the play."""


class Handler(BaseHTTPRequestHandler):
    """One connection. Subclasses answer ``do_GET`` and ``do_POST``."""

    host: ClassVar[str]
    protocol_version = "HTTP/1.1"
    server_version = "FakeReplicate"
    # Otherwise a small answer waits for the client's delayed acknowledgement.
    disable_nagle_algorithm = True
    # Buffered, so that headers and body leave together; flushed after each answer.
    wbufsize = -1
    server: Server

    @property
    def stage(self) -> Stage:
        return self.server.stage

    def note(self, body: str = "") -> None:
        headers = dict(self.headers.items())
        self.stage.world.note(Call(self.host, self.command, self.path, headers, body))

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """Send a JSON answer."""
        kind = "application/json" if status < 400 else "application/problem+json"
        self.send(status, json.dumps(body).encode(), kind, headers=headers)

    def send(
        self,
        status: int,
        data: bytes,
        content_type: str,
        *,
        headers: Mapping[str, str] | None = None,
        announced_bytes: int | None = None,
    ) -> None:
        """Send an answer in one piece; one that announces more than it holds ends cut off."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        length = len(data) if announced_bytes is None else announced_bytes
        self.send_header("Content-Length", str(length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        if announced_bytes is not None:
            self.cut()

    def trickle(self, body: Any) -> None:
        """Send a JSON answer that is right, a byte at a time, until the client hangs up."""
        data = json.dumps(body).encode()
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):
            for byte in data:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(self.stage.trickle_s)

    def problem(self, status: int, title: str, detail: str, **more: Any) -> None:
        self.answer(status, {"title": title, "detail": detail, "status": status, **more})

    def cut(self) -> None:
        """Hang up without a word."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def next_fault(self, moment: Moment) -> Fault | None:
        return self.stage.script.next(moment)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
