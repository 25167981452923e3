"""Jobs that have not ended: whether there are any, what they wait for, which no process holds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    and_,
    func,
    not_,
    null,
    select,
    union_all,
)

from imagen.domain.job import JobState
from imagen.domain.scope import Scope
from imagen.ledger.jobs.claimable import PUT_OFF, WAITS
from imagen.ledger.store.clauses import scope_clause, was_sent
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import jobs
from imagen.ledger.store.types import now, now_plus, seconds_since

UNFINISHED = (JobState.QUEUED, JobState.RUNNING, JobState.GENERATED)


def has_unfinished(ledger: Ledger, scope: Scope) -> bool:
    """Whether any job of the scope has not ended."""
    with ledger.read() as connection:
        return connection.execute(_unfinished(scope)).first() is not None


def _unfinished(scope: Scope) -> Select[Any] | CompoundSelect[Any]:
    """One unfinished job of the scope, found without reading those that are finished."""
    if scope.job_ids is not None or scope.batch_id is not None:
        unfinished = jobs.c.state.in_(UNFINISHED)
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


def queues_of(ledger: Ledger, scope: Scope, states: Sequence[JobState] = UNFINISHED) -> list[str]:
    """The queues of the scope's jobs in those states, in alphabetical order."""
    statement = (
        select(jobs.c.queue)
        .where(scope_clause(scope), jobs.c.state.in_(states))
        .distinct()
        .order_by(jobs.c.queue)
    )
    with ledger.read() as connection:
        return list(connection.scalars(statement))


def queued_backends(ledger: Ledger, scope: Scope, among: Iterable[str]) -> set[str]:
    """Those backends ``among`` some that a queued job of the scope needs."""
    with ledger.read() as connection:
        return {name for name in among if _is_any(connection, _queued(scope, [name]))}


def blocked_backend(ledger: Ledger, scope: Scope, unusable: Collection[str]) -> str | None:
    """One of the ``unusable`` backends where every unfinished job of the scope waits for such.

    None where any job may still be drawn or delivered, and where none is unfinished.
    """
    blocked = _queued(scope, unusable)
    unfinished = and_(scope_clause(scope), jobs.c.state.in_(UNFINISHED))
    with ledger.read() as connection:
        if _is_any(connection, and_(unfinished, not_(blocked))):
            return None
        name: str | None = connection.scalar(select(func.min(jobs.c.backend)).where(blocked))
    return name


def _queued(scope: Scope, backends: Collection[str]) -> ColumnElement[bool]:
    is_queued = jobs.c.state == JobState.QUEUED
    return and_(scope_clause(scope), is_queued, jobs.c.backend.in_(backends))


def _is_any(connection: Connection, condition: ColumnElement[bool]) -> bool:
    return connection.execute(select(jobs.c.id).where(condition).limit(1)).first() is not None


def next_due_s(ledger: Ledger, scope: Scope) -> float | None:
    """Seconds until the first waiting job of the scope is due; None when none waits for that.

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


#: Orphaned jobs are counted up to here.
MOST_COUNTED = 1_000


def count_orphaned(ledger: Ledger, *, host: str, without: Sequence[UUID] = ()) -> int:
    """How many unfinished jobs of ``host`` no process holds, up to ``MOST_COUNTED``.

    0 while any process draws or delivers there: a running batch keeps thousands of jobs waiting.
    """
    here = jobs.c.delivery_host == host
    is_held = and_(jobs.c.lease_owner.is_not(null()), jobs.c.lease_expires_at > now_plus())
    unfinished = and_(here, jobs.c.state.in_(UNFINISHED), jobs.c.id.not_in(without))
    some = select(jobs.c.id).where(unfinished).limit(MOST_COUNTED).subquery()
    with ledger.read() as connection:
        if _is_any(connection, and_(here, is_held)):
            return 0
        return connection.scalar(select(func.count()).select_from(some)) or 0


def submitted_jobs(ledger: Ledger, scope: Scope) -> list[tuple[UUID, str]]:
    """Id and backend of the scope's unfinished jobs that were sent to a backend, oldest first."""
    is_drawn = jobs.c.state.in_([JobState.QUEUED, JobState.RUNNING])
    statement = select(jobs.c.id, jobs.c.backend).where(scope_clause(scope), is_drawn, was_sent())
    with ledger.read() as connection:
        rows = connection.execute(statement.order_by(jobs.c.id)).all()
    return [(row.id, row.backend) for row in rows]
