"""How a worker takes a waiting job: one UPDATE that only one worker can win.

A message is a wake-up, not the work: a worker that gets one claims the best waiting row of its
queues.
The order is the policy: interactive before bulk, then the model that is loaded already (within
limits), then age. A job that was interrupted keeps its id and so comes first again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, update
from uuid_utils.compat import uuid7

from imagen.domain.job import Attempt, AttemptState, Claim, JobState
from imagen.domain.scope import EVERYTHING, Scope
from imagen.ledger.jobs.claim_order import OPEN_ATTEMPT, first_waiting, take
from imagen.ledger.jobs.claimable import Choice
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.rows import attempt_from_row, job_from_row, select_attempts
from imagen.ledger.store.tables import attempts, jobs
from imagen.ledger.store.types import now_plus


@dataclass(frozen=True, slots=True)
class Claimant:
    """The process that claims, the jobs it may take, and the model it has loaded.

    Attributes:
        owner: unique per process start.
        queues: served queues.
        lease_s: how long the job is held without a heartbeat.
        backends: only these; None for all.
        left_out: none of these, in alphabetical order.
        model: the affinity that is loaded here.
    """

    owner: str
    queues: Sequence[str]
    lease_s: float
    scope: Scope = EVERYTHING
    backends: Sequence[str] | None = None
    left_out: tuple[str, ...] = ()
    model: str | None = None

    def choice(self, crashed: bool | None) -> Choice:
        """Which jobs it may take."""
        backends = None if self.backends is None else tuple(self.backends)
        return Choice(tuple(self.queues), self.scope, crashed, backends, self.left_out)


def claim_job(ledger: Ledger, claimant: Claimant, *, crashed: bool | None = None) -> Claim | None:
    """The best waiting job, now leased to the claimant with a higher fence; None when none waits.

    ``crashed`` limits the choice to jobs that run alone after crashes (True), or to others (False).
    The claim also opens the attempt, or takes up the one that an earlier worker left unfinished.
    Not synced: a claim that a power cut undoes is simply made again.
    """
    choice = claimant.choice(crashed)
    if claimant.model is None:
        return _take(ledger, claimant, choice)
    with ledger.read() as connection:
        first = connection.execute(first_waiting(choice), {"b_model": claimant.model}).first()
    if first is None:
        return None
    is_other = first.affinity not in (None, claimant.model)
    if is_other and first.may_prefer and not first.has_waited_enough:
        claim = _take(ledger, claimant, choice, lane=first.lane)
        if claim is not None:
            _pass_over(ledger, first.id)
            return claim
    return _take(ledger, claimant, choice)


def _pass_over(ledger: Ledger, job_id: UUID) -> None:
    """Note that a later job was preferred to this one because its model is loaded."""
    with ledger.write(durable=False) as connection:
        connection.execute(
            update(jobs)
            .where(jobs.c.id == job_id, jobs.c.state == JobState.QUEUED)
            .values(
                passed_over=jobs.c.passed_over + 1,
                passed_over_since=func.coalesce(jobs.c.passed_over_since, now_plus()),
            )
        )


def _take(
    ledger: Ledger, claimant: Claimant, choice: Choice, *, lane: int | None = None
) -> Claim | None:
    """Claim the first job; with ``lane`` the first there that needs the loaded model."""
    new_attempt_id = uuid7()
    statement = take(choice, ledger.kind, model=lane is not None)
    values: dict[str, Any] = {
        "b_owner": claimant.owner,
        "b_lease_s": claimant.lease_s,
        "b_attempt": new_attempt_id,
    }
    if lane is not None:
        values |= {"b_lane": lane, "b_model": claimant.model}
    with ledger.write_one(durable=False) as connection:
        row = connection.execute(statement, values).one_or_none()
        if row is None:
            return None
        job = job_from_row(row)
        limited_s = row.limited_s or 0.0
        if row.attempt_id != new_attempt_id:
            attempt = load_attempt(connection, row.attempt_id)
            return Claim(job, attempt, claimant.owner, limited_s, resumed=True)
        attempt = Attempt(
            id=new_attempt_id,
            job_id=job.id,
            number=job.attempt_count,
            backend=job.backend,
            state=AttemptState.STARTED,
            worker=claimant.owner,
        )
        if ledger.kind == "sqlite":
            connection.execute(OPEN_ATTEMPT, values | {"b_job": job.id})
    return Claim(job, attempt, claimant.owner, limited_s)


def load_attempt(connection: Connection, attempt_id: UUID) -> Attempt:
    """The attempt with that id."""
    statement = select_attempts().where(attempts.c.id == attempt_id)
    return attempt_from_row(connection.execute(statement).one())
