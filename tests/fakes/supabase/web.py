"""The wire of the fake Supabase: HTTP that can be cut off at will, and its own controls."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.fakes.supabase.exchange import Reply, Request, json_reply
from tests.fakes.supabase.faults import Fault, Script, Service, fault_reply
from tests.fakes.supabase.rest_views import answer_rest
from tests.fakes.supabase.storage_views import answer_storage
from tests.fakes.supabase.world import Call, World

_SERVICES = {"/storage/v1": Service.STORAGE, "/rest/v1": Service.REST}
_AFTERWARDS = (Fault.CUT_AFTER, Fault.TORN_ANSWER, Fault.ERROR_AFTER, Fault.SLOW)
_MAX_HEADER_BYTES = 16 * 1024


class Server(ThreadingHTTPServer):
    """A threaded server that can close every connection it has, as a crash would."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self, port: int, world: World, script: Script, control: Callable[[Request], Reply]
    ) -> None:
        self.world = world
        self.script = script
        self.control = control
        self.is_over = threading.Event()
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.is_over.set()
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
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "FakeSupabase"
    # Otherwise a small answer waits for the client's delayed acknowledgement.
    disable_nagle_algorithm = True
    # Buffered, so that headers and body leave together; flushed after each answer.
    wbufsize = -1
    server: Server

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        prefix = next((each for each in _SERVICES if parts.path.startswith(f"{each}/")), "")
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = tuple(parse_qsl(parts.query, keep_blank_values=True))
        path = unquote(parts.path.removeprefix(prefix))
        if not prefix:
            return self._serve_rest_of_the_world(Request(self.command, path, query, headers, b""))
        service = _SERVICES[prefix]
        request = Request(self.command, path, query, headers, b"")
        fault = self.server.script.next(request, service)
        length = int(headers.get("content-length", "0"))
        if fault is Fault.CUT_MID_BODY:
            self.rfile.read(length // 2)
        body = b"" if fault is Fault.CUT_MID_BODY else self.rfile.read(length)
        with self.server.world.lock:
            call = Call(self.command, parts.path, query, headers, body)
            self.server.world.calls.append(call)
        # A body that ends early means that the client hung up: nothing was asked for.
        if fault in (Fault.CUT_BEFORE, Fault.CUT_MID_BODY) or len(body) < length:
            return self._cut()
        return self._answer(Request(self.command, path, query, headers, body), service, fault)

    def _serve_rest_of_the_world(self, request: Request) -> None:
        body = self.rfile.read(int(request.headers.get("content-length", "0")))
        if not request.path.startswith("/_fake/"):
            return self._send(json_reply(404, {"message": "no Route matched with those values"}))
        full = Request(request.method, request.path, request.query, request.headers, body)
        return self._send(self.server.control(full))

    def _answer(self, request: Request, service: Service, fault: Fault | None) -> None:
        instead = fault_reply(fault, service) if fault else None
        if instead and fault not in _AFTERWARDS:
            return self._send(instead)
        world = self.server.world
        reply = world.keyring.stop_at_gateway(request)
        if reply is None and len(self.path) > _MAX_HEADER_BYTES:
            reply = Reply(431)
        if reply is None:
            answer = answer_storage if service is Service.STORAGE else answer_rest
            with world.lock:
                reply = answer(world, request)
        if fault is Fault.CUT_AFTER:
            return self._cut()
        if fault is Fault.SLOW:
            self.server.is_over.wait(world.slow_s)
        return self._send(instead or reply, is_torn=fault is Fault.TORN_ANSWER)

    def _send(self, reply: Reply, *, is_torn: bool = False) -> None:
        self.send_response(reply.status)
        headers: Mapping[str, str] = {
            "Content-Type": reply.content_type,
            "Content-Length": str(len(reply.data) + (10 if is_torn else 0)),
            **reply.headers,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.data)
        if is_torn:
            self._cut()

    def _cut(self) -> None:
        """Hang up without a word."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)


def read_json(request: Request) -> dict[str, Any]:
    """The JSON object that a control was sent, empty where there is none."""
    read = json.loads(request.body or b"{}")
    return read if isinstance(read, dict) else {}
