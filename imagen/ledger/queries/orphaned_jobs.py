"""Jobs that nobody works on: what a command that was killed, or timed out, left behind."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select

from imagen.domain.job import AttemptState, JobState
from imagen.domain.scope import Scope
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.scope_clause import scope_clause
from imagen.ledger.store.tables import attempts, jobs
from imagen.ledger.store.types import now_plus

_WAITING = (JobState.QUEUED, JobState.GENERATED)


def count_leftovers(ledger: Ledger, *, host: str, but: Sequence[UUID] = ()) -> int:
    """How many unfinished jobs of ``host`` nobody holds; 0 while anybody draws or delivers there.

    A running batch keeps thousands of jobs waiting, and those are not left over.
    """
    is_held = jobs.c.lease_expires_at > now_plus()
    with ledger.read() as connection:
        somebody_works = connection.execute(
            select(jobs.c.id)
            .where(jobs.c.lease_owner.is_not(None), jobs.c.delivery_host == host, is_held)
            .limit(1)
        ).first()
        if somebody_works:
            return 0
        number = connection.scalar(
            select(func.count()).where(
                jobs.c.state.in_([*_WAITING, JobState.RUNNING]),
                jobs.c.delivery_host == host,
                jobs.c.id.not_in(but),
            )
        )
    return number or 0


def submitted_jobs(ledger: Ledger, scope: Scope) -> list[tuple[UUID, str]]:
    """Id and backend of the unfinished jobs of ``scope`` that a backend may have, oldest first."""
    with ledger.read() as connection:
        rows = connection.execute(
            select(jobs.c.id, jobs.c.backend)
            .join(attempts, attempts.c.id == jobs.c.attempt_id)
            .where(
                scope_clause(scope),
                jobs.c.state.in_([JobState.QUEUED, JobState.RUNNING]),
                attempts.c.state.in_([AttemptState.SUBMITTED, AttemptState.INTENDED]),
            )
            .order_by(jobs.c.id)
        ).all()
    return [(row.id, row.backend) for row in rows]
