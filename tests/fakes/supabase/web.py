"""Reads the requests of the fake Supabase, injects its faults, and sends the replies."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.fakes.faults import FaultQueue
from tests.fakes.http import FakeHandler, RecordedRequest
from tests.fakes.supabase.exchange import Reply, Request, json_reply
from tests.fakes.supabase.faults import Service, SupabaseFault, TargetedFault, fault_reply
from tests.fakes.supabase.rest_views import answer_rest
from tests.fakes.supabase.storage_views import answer_storage
from tests.fakes.supabase.world import ProjectStore

_SERVICES = {"/storage/v1": Service.STORAGE, "/rest/v1": Service.REST}
_AFTERWARDS = (
    SupabaseFault.CUT_AFTER,
    SupabaseFault.TORN_ANSWER,
    SupabaseFault.ERROR_AFTER,
    SupabaseFault.SLOW,
)
_MAX_HEADER_BYTES = 16 * 1024


class SupabaseHandler(FakeHandler):
    """One connection. The class variables are set on a subclass, one for each start.

    Attributes:
        control: answers ``/_fake/...``.
        is_over: set when the server stops.
    """

    server_version = "FakeSupabase"
    world: ClassVar[ProjectStore]
    faults: ClassVar[FaultQueue[TargetedFault]]
    control: ClassVar[Callable[[Request], Reply]]
    is_over: ClassVar[threading.Event]

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        prefix = next((each for each in _SERVICES if parts.path.startswith(f"{each}/")), "")
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = tuple(parse_qsl(parts.query, keep_blank_values=True))
        path = unquote(parts.path.removeprefix(prefix))
        if not prefix:
            return self._serve_other_paths(Request(self.command, path, query, headers, b""))
        service = _SERVICES[prefix]
        request = Request(self.command, path, query, headers, b"")
        fault = self._next_fault(request, service)
        length = int(headers.get("content-length", "0"))
        if fault is SupabaseFault.CUT_MID_BODY:
            self.rfile.read(length // 2)
        body = b"" if fault is SupabaseFault.CUT_MID_BODY else self.rfile.read(length)
        with self.world.lock:
            call = RecordedRequest(self.command, parts.path, headers, body, query)
            self.world.calls.append(call)
        # A body that ends early means that the client hung up: nothing was asked for.
        if fault in (SupabaseFault.CUT_BEFORE, SupabaseFault.CUT_MID_BODY) or len(body) < length:
            return self.cut()
        return self._answer(Request(self.command, path, query, headers, body), service, fault)

    def _next_fault(self, request: Request, service: Service) -> SupabaseFault | None:
        found = self.faults.next(lambda targeted: targeted.fits(request, service))
        return found.fault if found is not None else None

    def _serve_other_paths(self, request: Request) -> None:
        body = self.rfile.read(int(request.headers.get("content-length", "0")))
        if not request.path.startswith("/_fake/"):
            return self._send(json_reply(404, {"message": "no Route matched with those values"}))
        full = Request(request.method, request.path, request.query, request.headers, body)
        return self._send(self.control(full))

    def _answer(self, request: Request, service: Service, fault: SupabaseFault | None) -> None:
        instead = fault_reply(fault, service) if fault else None
        if instead and fault not in _AFTERWARDS:
            return self._send(instead)
        world = self.world
        reply = world.keyring.stop_at_gateway(request)
        if reply is None and len(self.path) > _MAX_HEADER_BYTES:
            reply = Reply(431)
        if reply is None:
            answer = answer_storage if service is Service.STORAGE else answer_rest
            with world.lock:
                reply = answer(world, request)
        if fault is SupabaseFault.CUT_AFTER:
            return self.cut()
        if fault is SupabaseFault.SLOW:
            self.is_over.wait(world.slow_s)
        return self._send(instead or reply, is_torn=fault is SupabaseFault.TORN_ANSWER)

    def _send(self, reply: Reply, *, is_torn: bool = False) -> None:
        announced = len(reply.data) + 10 if is_torn else None
        self.send(
            reply.status,
            reply.data,
            reply.content_type,
            headers=reply.headers,
            announced_bytes=announced,
        )


def read_json(request: Request) -> dict[str, Any]:
    """The JSON object that a control was sent, empty where there is none."""
    read = json.loads(request.body or b"{}")
    return read if isinstance(read, dict) else {}
