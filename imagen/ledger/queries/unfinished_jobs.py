"""Jobs that have not ended: whether there are any, what they wait for, which no process holds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    and_,
    func,
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

# Each of these conditions is a partial index, so that no finished job is read.
_QUEUED = (WAITS, PUT_OFF)
_BEYOND = (
    and_(jobs.c.state == JobState.RUNNING, jobs.c.lease_owner.is_not(null())),
    jobs.c.state == JobState.GENERATED,
)


def has_unfinished(ledger: Ledger, scope: Scope) -> bool:
    """Whether any job of the scope has not ended."""
    with ledger.read() as connection:
        if scope.job_ids is None and scope.batch_id is None:
            return _is_any(connection, scope, *_QUEUED, *_BEYOND)
        return _is_any(connection, scope, jobs.c.state.in_(UNFINISHED))


def _is_any(connection: Connection, scope: Scope, *conditions: ColumnElement[bool]) -> bool:
    """Whether any job of the scope meets one of the conditions."""
    return connection.execute(_some(scope, conditions, most=1)).first() is not None


def _some(
    scope: Scope, conditions: Iterable[ColumnElement[bool]], *, most: int
) -> CompoundSelect[Any]:
    """Ids of jobs of the scope that meet one of the conditions, each searched for by itself."""
    found = [select(jobs.c.id).where(each, scope_clause(scope)).limit(most) for each in conditions]
    return union_all(*(select(some.subquery()) for some in found)).limit(most)


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

    def is_needed(connection: Connection, name: str) -> bool:
        queued = [and_(each, jobs.c.backend == name) for each in _QUEUED]
        return _is_any(connection, scope, *queued)

    with ledger.read() as connection:
        return {name for name in among if is_needed(connection, name)}


def blocked_backend(ledger: Ledger, scope: Scope, unusable: Collection[str]) -> str | None:
    """One of the ``unusable`` backends where every unfinished job of the scope waits for such.

    None where any job may still be drawn or delivered, and where none is unfinished.
    """
    others = [and_(each, jobs.c.backend.not_in(unusable)) for each in _QUEUED]
    with ledger.read() as connection:
        if _is_any(connection, scope, *others, *_BEYOND):
            return None
    return min(queued_backends(ledger, scope, unusable), default=None)


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
    here = Scope(delivery_host=host)
    is_held = and_(jobs.c.lease_owner.is_not(null()), jobs.c.lease_expires_at > now_plus())
    others = [and_(each, jobs.c.id.not_in(without)) for each in (*_QUEUED, *_BEYOND)]
    some = _some(here, others, most=MOST_COUNTED).subquery()
    with ledger.read() as connection:
        if _is_any(connection, here, is_held):
            return 0
        return connection.scalar(select(func.count()).select_from(some)) or 0


def submitted_jobs(ledger: Ledger, scope: Scope) -> list[tuple[UUID, str]]:
    """Id and backend of the scope's unfinished jobs that were sent to a backend, oldest first."""
    is_drawn = jobs.c.state.in_([JobState.QUEUED, JobState.RUNNING])
    statement = select(jobs.c.id, jobs.c.backend).where(scope_clause(scope), is_drawn, was_sent())
    with ledger.read() as connection:
        rows = connection.execute(statement.order_by(jobs.c.id)).all()
    return [(row.id, row.backend) for row in rows]
