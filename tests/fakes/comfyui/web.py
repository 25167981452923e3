"""The fake's HTTP face: paths, status codes and bodies as observed on ComfyUI 0.3.64."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

from tests.fakes.comfyui import views
from tests.fakes.comfyui.engine import Engine
from tests.fakes.comfyui.execution import Prompt
from tests.fakes.comfyui.frames import CLOSE, PING, PONG, TEXT, accept_key, read_frames
from tests.fakes.comfyui.records import Submission
from tests.fakes.comfyui.sockets import ListeningSocket
from tests.fakes.comfyui.validation import validate_graph
from tests.fakes.http import FakeHandler

if TYPE_CHECKING:
    from tests.fakes.comfyui.server import FakeComfyUI

_TROUBLE = b"500 Internal Server Error\n\nServer got itself in trouble"


class HangUp(Exception):
    """End the connection without an answer."""


class ComfyUIHandler(FakeHandler):
    """One connection. ``fake`` and ``engine`` are set on a subclass, one for each life."""

    # Unbuffered: events go to the same connection past ``wfile``.
    wbufsize = 0
    fake: FakeComfyUI
    engine: Engine

    def do_GET(self) -> None:
        self._answer({"/ws": self._get_ws} | views.make_getters(self))

    def do_POST(self) -> None:
        self._answer(
            {
                "/prompt": self._post_prompt,
                "/queue": self._post_queue,
                "/history": self._post_history,
                "/interrupt": self._post_interrupt,
                "/free": self._post_free,
                "/_fake/inject": self._post_inject,
            }
        )

    # Answering.

    def _answer(self, routes: dict[str, Callable[[], None]]) -> None:
        parts = urlsplit(self.path)
        self.route = unquote(parts.path.removeprefix("/api"))
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.body = self.read_body()
        self.fake.records.requests.append((self.command, self.route))
        self.fake.records.headers.append(dict(self.headers.items()))
        try:
            if not self._is_refused():
                first = "/" + self.route.split("/")[1]
                handler = routes.get(self.route) or routes.get(first + "/*") or self._not_found
                handler()
        except HangUp:
            self.cut()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _is_refused(self) -> bool:
        wanted = self.fake.required_header
        if wanted and self.headers.get(wanted[0]) != wanted[1]:
            self.send(401, b"", "text/plain")
            return True
        origin = self.headers.get("Origin")
        if origin and urlsplit(origin).netloc != self.headers.get("Host"):
            self.send(403, b"", "text/plain")
            return True
        if fault := self.fake.faults.take("answer", path=self.route):
            body = str(fault.values.get("body", "")).encode()
            headers = dict(fault.values.get("headers", {}))
            self.send(fault.values.get("status", 502), body, "text/html", headers=headers)
            return True
        return False

    def send_json(self, data: Any, status: int = 200) -> None:
        self.send(status, json.dumps(data).encode())

    def _not_found(self) -> None:
        self.send(404, b"404: Not Found", "text/plain; charset=utf-8")

    def _read_json(self) -> Any:
        """The body; nothing when it is no JSON, which every endpoint answers with 500."""
        try:
            return json.loads(self.body)
        except ValueError:
            self.send(500, _TROUBLE, "text/plain; charset=utf-8")
            return None

    # Orders: 200 with an empty body whether or not anything matched.

    def _post_queue(self) -> None:
        if (data := self._read_json()) is None:
            return
        if data.get("clear"):
            self.engine.clear_queue()
        for prompt_id in data.get("delete", []):
            self.engine.delete_queued(prompt_id)
        self.send(200)

    def _post_history(self) -> None:
        if (data := self._read_json()) is None:
            return
        if data.get("clear"):
            self.engine.clear_history()
        self.engine.forget(data.get("delete", []))
        self.send(200)

    def _post_interrupt(self) -> None:
        data: Any = None
        with contextlib.suppress(ValueError):
            data = json.loads(self.body)
        prompt_id = data.get("prompt_id") if isinstance(data, dict) else None
        if prompt_id is None:
            self.fake.global_interrupts += 1
        self.engine.interrupt(prompt_id)
        self.send(200)

    def _post_free(self) -> None:
        if (data := self._read_json()) is None:
            return
        self.engine.free(data)
        self.send(200)

    def _post_inject(self) -> None:
        if (data := self._read_json()) is None:
            return
        self.fake.inject(data.pop("name"), **data)
        self.send(200)

    # POST /prompt.

    def _post_prompt(self) -> None:
        faults = self.fake.faults
        if faults.take("post_dropped"):
            raise HangUp
        if faults.take("post_500"):
            return self.send(500, _TROUBLE, "text/plain; charset=utf-8")
        if (data := self._read_json()) is None:
            return None
        number = self.engine.next_number()
        graph = data.get("prompt")
        if graph is None:
            return self.send_json(views.NO_PROMPT, 400)
        prompt = self._make_prompt(data, graph, number)
        if prompt is None:
            return None
        verdict = validate_graph(graph, self.fake.nodes, version=self.fake.version)
        if verdict.error:
            body = {"error": verdict.error, "node_errors": verdict.node_errors}
            return self.send_json(body, 400)
        prompt.outputs = verdict.outputs
        try:
            self.engine.put(prompt)
        except TypeError:
            return self.send(500, _TROUBLE, "text/plain; charset=utf-8")
        if faults.take("post_lost"):
            raise HangUp
        if faults.take("post_500_queued"):
            return self.send(500, _TROUBLE, "text/plain; charset=utf-8")
        return self.send_json(
            {
                "prompt_id": prompt.prompt_id,
                "number": prompt.number,
                "node_errors": verdict.node_errors,
            }
        )

    def _make_prompt(self, data: dict[str, Any], graph: Any, number: int) -> Prompt | None:
        prompt_id = str(data["prompt_id"]) if "prompt_id" in data else str(uuid4())
        if self.fake.ignores_prompt_ids:
            prompt_id = str(uuid4())
        extra_data = data.get("extra_data", {})
        client_id = data.get("client_id")
        if client_id is not None and not isinstance(client_id, str):
            # Takes the whole process down, not only the thread.
            self.fake.kill_from_inside()
            raise HangUp
        if client_id is not None:
            extra_data = {**(extra_data or {}), "client_id": client_id}
        submission = Submission(prompt_id, client_id or "", graph, extra_data, self.fake.now_s())
        self.fake.records.submissions.append(submission)
        place = float(data.get("number", number))
        if data.get("front"):
            place = -number
        return Prompt(place, prompt_id, graph, extra_data, [])

    # GET /ws.

    def _get_ws(self) -> None:
        key = self.headers.get("Sec-WebSocket-Key")
        if self.fake.faults.take("ws_refused") or not key:
            return self.send(403)
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept_key(key))
        self.end_headers()
        self.close_connection = True
        client_id = self.query.get("clientId") or uuid4().hex
        cut = self.fake.faults.take("ws_cut")
        listener = ListeningSocket(
            self.connection,
            left=int(cut.values.get("after", 0)) if cut else None,
            is_deaf=self.fake.faults.take("ws_deaf") is not None,
        )
        first = {"type": "status", "data": {**self.engine.status(), "sid": client_id}}
        listener.send(first, even_deaf=True)
        self.engine.sockets.add(client_id, listener)
        try:
            self._drain(listener)
        finally:
            self.engine.sockets.drop(client_id)
        return None

    def _drain(self, listener: ListeningSocket) -> None:
        with contextlib.suppress(OSError):
            for opcode, payload in read_frames(self.rfile):
                if opcode == PING:
                    listener.write(PONG, payload)
                elif opcode == CLOSE:
                    listener.write(CLOSE, payload)
                    return
                elif opcode == TEXT:
                    views.answer_message(listener, payload)
