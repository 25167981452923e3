"""Wake-ups within one process: its threads sleep until there is something for them to do."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from imagen.domain.job import Job, Wakeup
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.draw.job_listener import JobListener


@dataclass
class SleepingThreads:
    """Idle threads of one kind; one of them is woken at a time, so that sixteen look no more often
    than one."""

    _condition: threading.Condition = field(default_factory=threading.Condition)
    _is_woken: bool = False
    _is_closed: bool = False

    def wake_one(self) -> None:
        """Let one thread look for work: the next that sleeps, or falls asleep."""
        with self._condition:
            self._is_woken = True
            self._condition.notify()

    def sleep(self) -> None:
        """Block until this thread is woken; returns at once after ``close``."""
        with self._condition:
            while not self._is_woken and not self._is_closed:
                self._condition.wait()
            self._is_woken = False

    def close(self) -> None:
        """Wake all of them, for good."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()


@dataclass
class LocalPublisher:
    """Implements ``Publisher`` within one process."""

    listener: JobListener | None = None
    #: The threads that draw, by queue.
    drawers: dict[str, SleepingThreads] = field(default_factory=dict)
    delivery_wanted: threading.Event = field(default_factory=threading.Event)
    sending_wanted: threading.Event = field(default_factory=threading.Event)
    #: Set when the run has a reason to look at the ledger.
    look_wanted: threading.Event = field(default_factory=threading.Event)

    def wake_workers(self, queue: str, _wakeups: Sequence[Wakeup]) -> None:
        self._wake_one(queue)

    def wake_drawers(self) -> None:
        """Let a thread of each queue look for work."""
        for queue in list(self.drawers):
            self._wake_one(queue)

    def wake_results(self, _host: str) -> None:
        self.delivery_wanted.set()

    def wake_outbox(self, _host: str) -> None:
        self.sending_wanted.set()

    def wake_all(self) -> None:
        """Wake every thread for good: the run is over."""
        self.look_wanted.set()
        for threads in self.drawers.values():
            threads.close()
        self.delivery_wanted.set()
        self.sending_wanted.set()

    def announce(self, job: Job, event: Mapping[str, object]) -> None:
        if event.get("event") == "running":
            # It was claimed: the next one may be waiting behind it.
            self._wake_one(job.queue)
        if self.listener is not None:
            self.listener.on_event(job.id, event)

    def tell_outcome(self, outcome: ClaimOutcome) -> None:
        """Tell the listener what came of a claim of this process."""
        if self.listener is not None:
            self.listener.on_outcome(outcome)

    def _wake_one(self, queue: str) -> None:
        if queue in self.drawers:
            self.drawers[queue].wake_one()
