"""Jobs that have not ended: whether there are any, what they wait for, which were orphaned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import CompoundSelect, Select, and_, func, null, select, union_all

from imagen.domain.job import AttemptState, JobState
from imagen.domain.scope import Scope
from imagen.ledger.jobs.claimable import PUT_OFF, WAITS
from imagen.ledger.store.clauses import scope_clause
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import attempts, jobs
from imagen.ledger.store.types import now, now_plus, seconds_since

_UNFINISHED = (JobState.QUEUED, JobState.RUNNING, JobState.GENERATED)


def has_unfinished(ledger: Ledger, scope: Scope) -> bool:
    """Whether any job of the scope is still on its way."""
    with ledger.read() as connection:
        return connection.execute(_unfinished(scope)).first() is not None


def _unfinished(scope: Scope) -> Select[Any] | CompoundSelect[Any]:
    """One unfinished job of the scope, found without reading those that are finished."""
    if scope.job_ids is not None or scope.batch_id is not None:
        unfinished = jobs.c.state.in_(_UNFINISHED)
        return select(jobs.c.id).where(scope_clause(scope), unfinished).limit(1)
    # Each of these is a partial index.
    conditions = (
        WAITS,
        PUT_OFF,
        and_(jobs.c.state == JobState.RUNNING, jobs.c.lease_owner.is_not(null())),
        jobs.c.state == JobState.GENERATED,
    )
    firsts = [select(jobs.c.id).where(each, scope_clause(scope)).limit(1) for each in conditions]
    return union_all(*(select(first.subquery()) for first in firsts)).limit(1)


def running_ids(ledger: Ledger, scope: Scope, *, limit: int) -> list[UUID]:
    """Some jobs of the scope that are being drawn, the oldest first."""
    statement = (
        select(jobs.c.id)
        .where(scope_clause(scope), jobs.c.state == JobState.RUNNING)
        .order_by(jobs.c.id)
        .limit(limit)
    )
    with ledger.read() as connection:
        return list(connection.scalars(statement))


@dataclass(frozen=True, slots=True)
class Standstill:
    """Where some unfinished jobs are: the same backend, queue, state and last error."""

    backend: str
    queue: str
    state: JobState
    error_code: str | None


def unfinished_places(ledger: Ledger, scope: Scope) -> list[Standstill]:
    """Where the unfinished jobs of the scope are, each place once."""
    columns = (jobs.c.backend, jobs.c.queue, jobs.c.state, jobs.c.error_code)
    statement = (
        select(*columns)
        .where(scope_clause(scope), jobs.c.state.in_(_UNFINISHED))
        .group_by(*columns)
        # The databases disagree about whether NULL comes first.
        .order_by(*columns[:3], func.coalesce(jobs.c.error_code, ""))
    )
    with ledger.read() as connection:
        rows = connection.execute(statement).all()
    return [Standstill(row.backend, row.queue, JobState(row.state), row.error_code) for row in rows]


def next_due_s(ledger: Ledger, scope: Scope) -> float | None:
    """Seconds until the first waiting job of the scope is due; nothing when none waits for that.

    One that is due already waits for something else, such as the end of a pause.
    """
    ages = [
        select(func.max(seconds_since(jobs.c.not_before)).label("age"))
        .where(scope_clause(scope), condition, jobs.c.not_before > now())
        .subquery()
        for condition in (PUT_OFF, jobs.c.state == JobState.GENERATED)
    ]
    either = union_all(*(select(each.c.age) for each in ages)).subquery()
    with ledger.read() as connection:
        age = connection.scalar(select(func.max(either.c.age)))
    return None if age is None else max(0.0, -float(age))


_WAITING = (JobState.QUEUED, JobState.GENERATED)


def count_orphaned(ledger: Ledger, *, host: str, without: Sequence[UUID] = ()) -> int:
    """How many unfinished jobs of ``host`` no process holds, but for the jobs ``without``.

    0 while any process draws or delivers there: a running batch keeps thousands of jobs waiting.
    """
    is_held = jobs.c.lease_expires_at > now_plus()
    with ledger.read() as connection:
        held = connection.execute(
            select(jobs.c.id)
            .where(jobs.c.lease_owner.is_not(None), jobs.c.delivery_host == host, is_held)
            .limit(1)
        ).first()
        if held is not None:
            return 0
        number = connection.scalar(
            select(func.count()).where(
                jobs.c.state.in_([*_WAITING, JobState.RUNNING]),
                jobs.c.delivery_host == host,
                jobs.c.id.not_in(without),
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
