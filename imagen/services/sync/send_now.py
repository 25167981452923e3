"""Sends everything that waits in the outbox now, and waits for what other processes are sending."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from imagen.domain.scope import EVERYTHING
from imagen.ledger.outbox.backlog import put_kept_usage_in_outbox
from imagen.ledger.outbox.outbox import count_pending, held_elsewhere
from imagen.services.leases.reconcile import free_outbox
from imagen.services.sync.drain_thread import DrainThread
from imagen.services.sync.send import OutboxSender

_PROGRESS_EVERY_S = 5.0
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Sent:
    """How much arrived, ``by_others`` of it sent by other processes."""

    number: int = 0
    by_others: int = 0


@dataclass(frozen=True, slots=True)
class SendProgress:
    """``left`` of ``total`` still have to arrive; other processes are sending ``by_others``."""

    left: int
    total: int
    by_others: int = 0


def send_now(
    sender: OutboxSender,
    *,
    lock_folder: Path,
    sends_usage: bool,
    stop: threading.Event,
    timeout_s: float | None = None,
    on_progress: Callable[[SendProgress], None] = lambda _: None,
) -> Sent:
    """Try everything that waits once, whatever its time, and wait for what others are sending.

    Usage that was recorded while no project was configured goes out, too. Ends early once ``stop``
    is set or ``timeout_s`` seconds are over. ``on_progress`` is called every five seconds.

    Raises:
        LedgerError: the ledger is away.
    """
    if sends_usage:
        put_kept_usage_in_outbox(sender.ledger)
    free_outbox(sender.ledger, lock_folder)
    total = _count(sender)
    if not total:
        return Sent()
    ends_s = None if timeout_s is None else time.monotonic() + timeout_s
    run = _SendRun(sender, lock_folder, stop, on_progress, total, ends_s)
    own = run.drain(now=True)
    if run.wait_for_others():
        # What they gave back is due; what they put off was tried just now.
        own += run.drain(now=False)
    arrived = max(own, total - _count(sender))
    return Sent(arrived, arrived - own)


@dataclass
class _SendRun:
    """The steps of ``send_now``."""

    sender: OutboxSender
    lock_folder: Path
    stop: threading.Event
    on_progress: Callable[[SendProgress], None]
    total: int
    ends_s: float | None
    told_s: float = field(default_factory=time.monotonic)

    def drain(self, *, now: bool) -> int:
        """Send what no other process holds; says how much arrived."""
        draining = DrainThread(self.sender, EVERYTHING, now=now)
        draining.start()
        try:
            while not draining.wait(_LOOK_EVERY_S) and self._goes_on():
                self._tell()
        finally:
            draining.leave()
        return draining.sent

    def wait_for_others(self) -> bool:
        """Wait until other processes are through with what they are sending now.

        Says whether they were sending anything.
        """
        held = awaited = held_elsewhere(self.sender.ledger, self.sender.owner)
        while held & awaited and self._goes_on():
            self._tell(by_others=len(held))
            self.stop.wait(_LOOK_EVERY_S)
            free_outbox(self.sender.ledger, self.lock_folder)
            held = held_elsewhere(self.sender.ledger, self.sender.owner)
        return bool(awaited)

    def _goes_on(self) -> bool:
        is_late = self.ends_s is not None and time.monotonic() >= self.ends_s
        return not is_late and not self.stop.is_set()

    def _tell(self, *, by_others: int = 0) -> None:
        if time.monotonic() - self.told_s >= _PROGRESS_EVERY_S:
            self.told_s = time.monotonic()
            self.on_progress(SendProgress(_count(self.sender), self.total, by_others))


def _count(sender: OutboxSender) -> int:
    return sum(count_pending(sender.ledger).values())
