"""Lease renewal: one thread renews every lease of the process, and learns of cancels."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from imagen.domain.job import Claim, JobState
from imagen.domain.protocols import Clock
from imagen.errors import JobCanceled, LeaseLost, LedgerClosed, LedgerError
from imagen.ledger.jobs.fenced_writes import give_back
from imagen.ledger.jobs.leases import renew_leases
from imagen.ledger.store.engine import Ledger

log = logging.getLogger(__name__)


@dataclass
class Lease:
    """The lease of one job, as last renewed by this process."""

    claim: Claim
    lease_s: float
    renewed_at_s: float
    clock: Clock
    is_canceled: bool = False
    is_lost: bool = False

    def left_s(self) -> float:
        """Seconds until the lease may run out, judged from before the last renewal was sent."""
        return self.renewed_at_s + self.lease_s - self.clock.boottime_s()

    def check(self) -> None:
        """Raises ``LeaseLost`` or ``JobCanceled`` when the last heartbeat said so."""
        job_id = self.claim.job.id
        if self.is_lost:
            raise LeaseLost(f"job {job_id} is no longer held by this worker")
        if self.is_canceled:
            raise JobCanceled(f"job {job_id} was canceled on request")


@dataclass
class Heartbeat:
    """Renews the leases of ``owner`` every ``every_s`` seconds, from its own thread.

    ``on_beat`` is called after each renewal; what it raises is logged and ends nothing.
    """

    ledger: Ledger
    owner: str
    lease_s: float
    every_s: float
    clock: Clock
    on_beat: Callable[[], None] | None = None
    _leases: dict[UUID, Lease] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_ending: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="imagen-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; leases that are still held run out."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @contextmanager
    def holding(self, claims: Sequence[Claim], *, claimed_at_s: float) -> Iterator[list[Lease]]:
        """Keep these claims alive while the block runs.

        ``claimed_at_s`` is the clock's reading from before the claim was sent.
        """
        leases = [Lease(claim, self.lease_s, claimed_at_s, self.clock) for claim in claims]
        with self._lock:
            for lease in leases:
                lease.is_lost = self._is_ending
                self._leases[lease.claim.job.id] = lease
        try:
            yield leases
        finally:
            with self._lock:
                for lease in leases:
                    if self._leases.get(lease.claim.job.id) is lease:
                        del self._leases[lease.claim.job.id]

    def end(self) -> None:
        """Count every lease from now on as lost: its claim came after the process gave all back."""
        with self._lock:
            self._is_ending = True

    def held(self) -> list[Lease]:
        with self._lock:
            return list(self._leases.values())

    def beat(self) -> None:
        """Renew once, now.

        Raises:
            LedgerError: the ledger did not answer; the leases run on without renewal.
        """
        # Leases of later claims are not judged: their rows may not have been there yet.
        leases = self.held()
        if not leases:
            return
        sent_at_s = self.clock.boottime_s()
        renewed = renew_leases(self.ledger, self.owner, lease_s=self.lease_s)
        for lease in leases:
            found = renewed.get(lease.claim.job.id)
            if found is None or found.fence != lease.claim.job.fence:
                lease.is_lost = True
            else:
                lease.renewed_at_s = sent_at_s
                lease.is_canceled = found.cancel_requested

    def _run(self) -> None:
        while not self._stop.wait(self.every_s):
            try:
                self.beat()
                if self.on_beat is not None:
                    self.on_beat()
                self.ledger.close_idle()
            except LedgerError as error:
                log.warning("heartbeat_failed", extra={"error": str(error)})
            except Exception:
                # A heartbeat that ends lets every lease of the process run out.
                log.exception("heartbeat_failed")


def try_to_give_back(ledger: Ledger, claim: Claim) -> None:
    """Return a running job to the queue with its external id, no crash counted.

    The backend goes on working; the next claim resumes it there. What cannot be given back now is
    left to its lease, which counts a crash although no worker died.
    """
    try:
        give_back(ledger, claim)
    except (LeaseLost, LedgerClosed):
        # A closed ledger's process is ending, and has given back what it held.
        return
    except LedgerError as error:
        log.warning("lease_not_given_back", extra={"why": str(error)})


def give_back_all(ledger: Ledger, heartbeat: Heartbeat) -> None:
    """Return every running job that this process holds to the queue.

    A thread that is claiming a job meanwhile returns that one itself, and draws nothing.
    """
    heartbeat.end()
    for lease in heartbeat.held():
        if lease.claim.job.state is JobState.RUNNING:
            try_to_give_back(ledger, lease.claim)
