"""The server's websocket, reduced to the events that concern a prompt.

Events only save time. The follower also asks over HTTP, because a socket may be cut, stall or
receive no more events without an error (all three observed on ComfyUI 0.3.64).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

import websocket

_CONNECT_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class PromptEvent:
    """``alive``: the prompt is in execution. ``ending``: its history entry is about to appear.
    ``ended``: the entry is there. ``queue``: something in the queue changed, of any client.
    ``node`` is the node that is being executed, where the message names it.
    """

    kind: Literal["alive", "progress", "ending", "ended", "queue"]
    prompt_id: str = ""
    done: int = 0
    total: int = 0
    node: str = ""


class EventSocket:
    """One connection, for one prompt in one thread.

    Each connection has a client id of its own: a second socket with the id of one that the server
    still takes for open receives no more events once the old one is closed. So a prompt's own
    events come to the connection it was posted with and to no later one; a later one still
    receives changes in the queue.
    """

    def __init__(self, url: str, *, headers: Mapping[str, str], reconnect_s: float) -> None:
        self._url = "ws" + url.removeprefix("http") + "/ws"
        self._headers = [f"{name}: {value}" for name, value in headers.items()]
        self._reconnect_s = reconnect_s
        self._retry_at_s = 0.0
        self._socket: websocket.WebSocket | None = None
        self.client_id = ""

    def open(self) -> None:
        """Connect unless connected; returns without a connection when the server refuses it."""
        if self._socket is not None:
            return
        self.client_id = uuid4().hex
        self._retry_at_s = time.monotonic() + self._reconnect_s
        try:
            self._socket = websocket.create_connection(
                f"{self._url}?clientId={self.client_id}",
                timeout=_CONNECT_TIMEOUT_S,
                header=self._headers,
                # ComfyUI answers 403 to an Origin that is not its Host, and a redirect would
                # carry our headers to another host.
                suppress_origin=True,
                redirect_limit=0,
            )
        except (websocket.WebSocketException, OSError, ValueError):
            self._socket = None

    def close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.shutdown()  # type: ignore[no-untyped-call]  # the library half types itself

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def is_attached(self, posted_as: str) -> bool:
        """Whether the events of a prompt that was posted with this client id come here."""
        return self.is_open and self.client_id == posted_as

    def wait(self, timeout_s: float) -> PromptEvent | None:
        """The next event, or None when ``timeout_s`` seconds are over. Skips other messages."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return None
            if self._socket is None:
                self._sleep_or_connect(left_s)
            elif (event := self._receive(self._socket, left_s)) is not None:
                return event

    def _sleep_or_connect(self, left_s: float) -> None:
        until_retry_s = self._retry_at_s - time.monotonic()
        if until_retry_s <= 0:
            self.open()
        else:
            time.sleep(min(left_s, until_retry_s))

    def _receive(self, socket: websocket.WebSocket, left_s: float) -> PromptEvent | None:
        try:
            socket.settimeout(max(left_s, 0.001))
            opcode, data = socket.recv_data()
        except websocket.WebSocketTimeoutException:
            return None
        except (websocket.WebSocketException, OSError, ValueError):
            self.close()
            return None
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            self.close()
            return None
        # Binary messages are previews, which are not used here.
        return parse_event(data) if opcode == websocket.ABNF.OPCODE_TEXT else None


def parse_event(text: bytes | str) -> PromptEvent | None:
    """The event of a text message, or None where it has none."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    data = message.get("data") if isinstance(message, dict) else None
    if not isinstance(data, dict):
        return None
    kind, prompt_id = message.get("type"), str(data.get("prompt_id", ""))
    if kind == "status":
        return PromptEvent("queue")
    if kind == "progress":
        return _parse_progress(prompt_id, data)
    if kind in ("execution_success", "execution_error", "execution_interrupted"):
        # Sent before the history entry is stored.
        return PromptEvent("ending", prompt_id)
    if kind == "executing" and data.get("node") is None:
        # The last one of every prompt, after the history entry is stored.
        return PromptEvent("ended", prompt_id)
    if kind == "executing":
        return PromptEvent("alive", prompt_id, node=str(data["node"]))
    if kind in ("execution_start", "execution_cached", "executed", "progress_state"):
        return PromptEvent("alive", prompt_id)
    return None


def _parse_progress(prompt_id: str, data: Mapping[str, Any]) -> PromptEvent:
    done, total = data.get("value"), data.get("max")
    if isinstance(done, (int, float)) and isinstance(total, (int, float)) and 0 <= done <= total:
        return PromptEvent("progress", prompt_id, int(done), int(total))
    return PromptEvent("alive", prompt_id)
