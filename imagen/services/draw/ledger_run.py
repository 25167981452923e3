"""The ``Run`` that a backend is given: writes to the ledger, and announces to waiting commands."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from imagen.domain.cost import Bill
from imagen.domain.job import Attempt, AttemptState, Claim, Lane
from imagen.domain.protocols import Clock, Publisher
from imagen.errors import LeaseLost
from imagen.ledger.jobs.fenced_writes import record_adopted, record_intent, record_submitted
from imagen.ledger.store.engine import Ledger
from imagen.services.leases.heartbeat import Heartbeat, Lease
from imagen.services.leases.ledger_outage import retry_while_unavailable

#: Seconds between two announcements of progress, at least.
_ANNOUNCE_EVERY_S = 0.1


_ANNOUNCE_BULK_EVERY_S = 1.0


_MOST_PHASE_CHARS = 200


@dataclass
class LedgerRun:
    """Implements ``imagen.domain.protocols.Run``; see there."""

    ledger: Ledger
    lease: Lease
    heartbeat: Heartbeat
    publisher: Publisher
    clock: Clock
    external_id: str | None = None
    #: The job was canceled while a paid call was on its way whose id is not on record: the backend
    #: may look for it before it hears of the cancel.
    may_look_first: bool = False
    #: What the attempt costs, once the backend has drawn it.
    bill: Bill | None = None
    #: Whether a paid call was announced in this run.
    has_intended: bool = False
    _announced_s: float = float("-inf")

    def __post_init__(self) -> None:
        self._began_s = self.clock.boottime_s()

    @property
    def attempt_id(self) -> UUID:
        return self.lease.claim.attempt.id

    @property
    def previous(self) -> Attempt | None:
        claim = self.lease.claim
        if not claim.resumed or claim.attempt.state is AttemptState.STARTED:
            return None
        return claim.attempt

    @property
    def is_unsettled(self) -> bool:
        """Whether a call that an earlier worker announced may be paid for, under an unknown id."""
        is_left = self.previous is not None and self.previous.state is AttemptState.INTENDED
        return is_left and not self.has_intended and self.external_id is None

    def intend(self, *, timeout_s: float) -> None:
        # Half a lease is enough even for a longer call: a worker that takes the job over waits
        # until the call's own deadline is past before it decides anything.
        needed_s = min(timeout_s, self.lease.lease_s / 2)
        if self.lease.left_s() < needed_s:
            self.heartbeat.beat()
        self._require_lease(needed_s)
        self.has_intended = True
        retry_while_unavailable(
            lambda: record_intent(self.ledger, self.lease.claim), clock=self.clock
        )
        # The commit may have taken as long as the ledger was away, or this process was stopped.
        self._require_lease(needed_s)

    def _require_lease(self, needed_s: float) -> None:
        self.lease.check()
        if self.lease.left_s() < needed_s:
            raise LeaseLost(
                f"the lease of job {self.lease.claim.job.id} may end before a paid call would"
            )

    def submitted(self, external_id: str, *, place: str = "") -> None:
        self.external_id = external_id
        retry_while_unavailable(
            lambda: record_submitted(self.ledger, self.lease.claim, external_id, place=place),
            clock=self.clock,
        )

    def adopted(self, external_id: str, *, place: str = "") -> None:
        retry_while_unavailable(
            lambda: record_adopted(self.ledger, self.lease.claim, external_id, place=place),
            clock=self.clock,
        )
        self.external_id = external_id

    @property
    def age_ms(self) -> int:
        """For how long the attempt has been under way, in all workers that held it."""
        here_s = self.clock.boottime_s() - self._began_s
        return round((here_s + spent_before_s(self.lease.claim)) * 1000)

    def billed(self, bill: Bill) -> None:
        self.bill = bill

    def progress(self, done: int, total: int, *, phase: str = "") -> None:
        if self.lease.is_lost or self.external_id is not None or not self.may_look_first:
            self.lease.check()
        now_s = self.clock.boottime_s()
        job = self.lease.claim.job
        if job.lane is Lane.BULK:
            # A user may watch a batch; its quick jobs are not announced.
            told_s, every_s = max(self._announced_s, self._began_s), _ANNOUNCE_BULK_EVERY_S
        else:
            told_s, every_s = self._announced_s, _ANNOUNCE_EVERY_S
        if now_s - told_s >= every_s:
            self._announced_s = now_s
            event: dict[str, object] = {"event": "progress", "done": done, "total": total}
            if phase:
                event["phase"] = phase[:_MOST_PHASE_CHARS]
            self.publisher.announce(job, event)

    def lease_left_s(self) -> float:
        return self.lease.left_s()


def spent_before_s(claim: Claim) -> float:
    """Seconds that a resumed attempt has taken already, in all workers that held it.

    By the ledger's clock, from when the attempt was announced or submitted.
    """
    attempt = claim.attempt
    if attempt.latency_ms is not None:
        # It was drawn before and its bytes were lost: the time since then was not spent on it.
        return attempt.latency_ms / 1000
    if not claim.resumed or attempt.state is AttemptState.STARTED:
        return 0.0
    return attempt.begun_age_s or 0.0
