"""Wakes results workers in the background, once for all that was generated meanwhile."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from imagen.queue.publish.publisher import CeleryPublisher

#: Deliveries of a busy worker are announced at most this often; the first one at once.
_PAUSE_S = 0.05


@dataclass
class CoalescingPublisher(CeleryPublisher):
    """A publisher for those who draw: nobody waits for Redis before the next image.

    A wake-up that is still to be sent when the process dies is sent by the caretaker of another.
    """

    _hosts: set[str] = field(default_factory=set)
    _rung: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None

    def wake_results(self, host: str) -> None:
        with self._rung:
            self._hosts.add(host)
            self._rung.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="imagen-bell", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            with self._rung:
                while not self._hosts:
                    self._rung.wait()
                hosts, self._hosts = self._hosts, set()
            for host in hosts:
                super().wake_results(host)
            pause.wait(_PAUSE_S)
