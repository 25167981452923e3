"""Who listens on ``/ws``, and the one thread that tells them, with the real server's two traps."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
from collections.abc import Mapping
from typing import Any

from tests.fakes.comfyui.faults import Faults
from tests.fakes.comfyui.frames import TEXT, write_frame
from tests.fakes.http import hang_up


class ListeningSocket:
    """One websocket. ``left`` is how many more messages it gets before it is cut, if ever."""

    def __init__(self, connection: socket.socket, *, left: int | None, is_deaf: bool) -> None:
        self.connection = connection
        self._left = left
        self._is_deaf = is_deaf
        self._lock = threading.Lock()

    def send(self, message: Mapping[str, Any], *, even_deaf: bool = False) -> None:
        if self._is_deaf and not even_deaf:
            return
        if self._left is not None:
            if self._left <= 0:
                hang_up(self.connection)
                return
            self._left -= 1
        self.write(TEXT, json.dumps(message).encode())

    def write(self, opcode: int, payload: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):
            write_frame(self.connection, opcode, payload)


class ListeningSockets:
    """Listeners by client id.

    A second socket with the id of a first one takes its place, and when the first one ends, the
    id is dropped: the second is deaf from then on and is not told (observed on ComfyUI 0.3.64).
    One thread sends everything, so a reader that does not read stops the events of all.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._by_id: dict[str, ListeningSocket] = {}
        self._outbox: queue.SimpleQueue[tuple[dict[str, Any], str | None] | None] = (
            queue.SimpleQueue()
        )
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._publish, daemon=True)
        self._thread.start()

    def add(self, client_id: str, listener: ListeningSocket) -> None:
        self._by_id[client_id] = listener

    def drop(self, client_id: str) -> None:
        self._by_id.pop(client_id, None)

    @property
    def count(self) -> int:
        return len(self._by_id)

    def tell(self, kind: str, data: Mapping[str, Any], client_id: str | None) -> None:
        """Queue a message for one listener, or for all without a client id."""
        self._outbox.put(({"type": kind, "data": data}, client_id))

    def close(self) -> None:
        self._is_closed.set()
        self._outbox.put(None)
        for listener in list(self._by_id.values()):
            hang_up(listener.connection)
        self._thread.join(timeout=5)

    def _publish(self) -> None:
        while (item := self._outbox.get()) is not None:
            while self._faults.is_active("ws_stalled") and not self._is_closed.wait(0.01):
                pass
            if self._is_closed.is_set():
                return
            message, client_id = item
            chosen = [self._by_id.get(client_id)] if client_id else list(self._by_id.values())
            for listener in chosen:
                if listener is not None:
                    listener.send(message)
