"""Wakes results workers in the background, once for all that was generated meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from imagen.domain.job import Job, Wakeup
from imagen.domain.protocols import Publisher

#: The shortest time between two wake-ups of a busy worker; the first one is sent at once.
_PAUSE_S = 0.05


@dataclass
class CoalescingPublisher:
    """A publisher for threads that draw: none waits for Redis before its next image.

    A wake-up that is not sent yet when the process dies is sent by the top-up of another process.
    """

    inner: Publisher
    _hosts: set[str] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None

    def wake_workers(self, queue: str, wakeups: Sequence[Wakeup]) -> None:
        self.inner.wake_workers(queue, wakeups)

    def wake_outbox(self, host: str) -> None:
        self.inner.wake_outbox(host)

    def announce(self, job: Job, event: Mapping[str, object]) -> None:
        self.inner.announce(job, event)

    def wake_results(self, host: str) -> None:
        with self._changed:
            self._hosts.add(host)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="imagen-wake-results", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            with self._changed:
                while not self._hosts:
                    self._changed.wait()
                hosts, self._hosts = self._hosts, set()
            for host in hosts:
                self.inner.wake_results(host)
            pause.wait(_PAUSE_S)
