"""One life of the server: queue, history and the thread that draws. A restart makes a new one."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.comfyui.device import Device, PoweredOff, Speed
from tests.fakes.comfyui.disk import Disk
from tests.fakes.comfyui.execution import Prompt, PromptExecutor, Vanished, WorkerDied
from tests.fakes.comfyui.faults import Faults
from tests.fakes.comfyui.nodes import NodeClass
from tests.fakes.comfyui.records import Records
from tests.fakes.comfyui.sockets import ListeningSockets


class Engine:
    """What a server knows until it is killed."""

    def __init__(
        self,
        *,
        nodes: Mapping[str, NodeClass],
        disk: Disk,
        faults: Faults,
        records: Records,
        speed: Speed,
        die: Callable[[], None],
    ) -> None:
        self.sockets = ListeningSockets(faults)
        self._faults = faults
        self._die = die
        self._device = Device()
        self._executor = PromptExecutor(
            nodes, self._device, disk, faults, records, speed, self.sockets.tell
        )
        self._changed = threading.Condition()
        self._counter = itertools.count()
        self._tie = itertools.count()
        self._pending: list[tuple[float, str, int, Prompt]] = []
        self._running: dict[str, Prompt] = {}
        self._history: dict[str, Any] = {}
        self._flags: dict[str, bool] = {}
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def power_off(self) -> None:
        """Stop drawing at once and forget everything."""
        self._device.power_off()
        with self._changed:
            self._changed.notify_all()
        self.sockets.close()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)

    # The queue.

    def next_number(self) -> int:
        """A refused prompt uses one up, too."""
        return next(self._counter)

    def put(self, prompt: Prompt) -> None:
        """Queue it.

        Raises:
            TypeError: number and id are those of a waiting prompt. It is queued nevertheless:
                the heap has taken it before it compares (observed on ComfyUI 0.3.64).
        """
        with self._changed:
            is_double = any(
                (one.number, one.prompt_id) == (prompt.number, prompt.prompt_id)
                for *_, one in self._pending
            )
            heapq.heappush(
                self._pending, (prompt.number, prompt.prompt_id, next(self._tie), prompt)
            )
            self._changed.notify_all()
        if is_double:
            raise TypeError("'<' not supported between instances of 'dict' and 'dict'")
        self._tell_status()

    def queue(self) -> dict[str, Any]:
        """Running and waiting items; the waiting ones as the heap lies in memory."""
        with self._changed:
            running = [list(prompt.to_item()) for prompt in self._running.values()]
            pending = [list(prompt.to_item()) for *_, prompt in self._pending]
            return {"queue_running": running, "queue_pending": pending}

    def remaining(self) -> int:
        with self._changed:
            return len(self._pending) + len(self._running)

    def delete_queued(self, prompt_id: str) -> None:
        """One copy goes, when there are several."""
        with self._changed:
            for item in self._pending:
                if item[1] == prompt_id:
                    self._pending.remove(item)
                    heapq.heapify(self._pending)
                    break
        self._tell_status()

    def clear_queue(self) -> None:
        with self._changed:
            self._pending.clear()
        self._tell_status()

    def interrupt(self, prompt_id: str | None) -> None:
        """Stop the prompt if it runs; without an id, whatever runs."""
        with self._changed:
            is_meant = prompt_id is None or prompt_id in self._running
        if is_meant:
            self._device.interrupt()

    # The rest of what it knows.

    def history(self, prompt_id: str | None = None) -> dict[str, Any]:
        with self._changed:
            if prompt_id is None:
                return dict(self._history)
            return {prompt_id: self._history[prompt_id]} if prompt_id in self._history else {}

    def forget(self, prompt_ids: list[str]) -> None:
        with self._changed:
            for prompt_id in prompt_ids:
                self._history.pop(prompt_id, None)

    def clear_history(self) -> None:
        with self._changed:
            self._history.clear()

    def free(self, flags: Mapping[str, bool]) -> None:
        """Applied between prompts."""
        with self._changed:
            self._flags |= {name: True for name, value in flags.items() if value}
            self._changed.notify_all()

    # The thread that draws.

    def _work(self) -> None:
        try:
            while (prompt := self._next()) is not None:
                self._run(prompt)
        except (WorkerDied, PoweredOff):
            # The prompt stays in queue_running; with the thread dead nothing after it runs.
            return

    def _next(self) -> Prompt | None:
        with self._changed:
            while True:
                if self._device.is_off:
                    return None
                self._apply_flags()
                if self._pending:
                    break
                self._changed.wait()
            prompt = heapq.heappop(self._pending)[-1]
            self._running[prompt.prompt_id] = prompt
        self._tell_status()
        return prompt

    def _apply_flags(self) -> None:
        if self._flags.pop("unload_models", False):
            self._device.loaded.clear()
        if self._flags.pop("free_memory", False):
            self._executor.cache.results = {}

    def _run(self, prompt: Prompt) -> None:
        if self._faults.take("kill"):
            self._die()
            raise PoweredOff
        entry = None
        with contextlib.suppress(Vanished):
            entry = self._executor.run(prompt)
        with self._changed:
            # One step: a live prompt is always in pending, running or history.
            self._running.pop(prompt.prompt_id, None)
            if entry is not None:
                self._history[prompt.prompt_id] = entry
        self._tell_status()
        if prompt.client_id and entry is not None:
            data = {"node": None, "prompt_id": prompt.prompt_id}
            self.sockets.tell("executing", data, prompt.client_id)

    def _tell_status(self) -> None:
        self.sockets.tell("status", self.status(), None)

    def status(self) -> dict[str, Any]:
        return {"status": {"exec_info": {"queue_remaining": self.remaining()}}}
