"""Finds and lists jobs and their attempts, for users and waiting commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select

from imagen.domain.job import Attempt, Job, JobState
from imagen.domain.scope import EVERYTHING, Scope
from imagen.errors import RequestError
from imagen.ledger.store.clauses import scope_clause
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.rows import attempt_from_row, job_from_row, select_attempts
from imagen.ledger.store.tables import attempts, batches, jobs


def get_job(ledger: Ledger, job_id: UUID) -> Job | None:
    """The job with that id, or None."""
    with ledger.read() as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
    return job_from_row(row) if row else None


def find_job(ledger: Ledger, prefix: str) -> Job:
    """The one job whose id begins with ``prefix`` (at least four hex digits).

    Raises:
        RequestError: no job, or more than one, begins so.
    """
    digits = prefix.strip().lower().replace("-", "")
    if len(digits) < 4 or len(digits) > 32 or not all(c in "0123456789abcdef" for c in digits):
        raise RequestError(f"{prefix!r} is not a job id", "see: imagen jobs ls")
    low, high = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    with ledger.read() as connection:
        rows = connection.execute(
            select(jobs).where(jobs.c.id.between(low, high)).order_by(jobs.c.id).limit(2)
        ).all()
    if not rows:
        raise RequestError(f"no job begins with {prefix!r}", "see: imagen jobs ls")
    if len(rows) > 1:
        raise RequestError(
            f"several jobs begin with {prefix!r}, such as {rows[0].id} and {rows[1].id}",
            "give more of the id",
        )
    return job_from_row(rows[0])


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs to list; a field that is not given matches every job."""

    states: tuple[JobState, ...] = ()
    backend: str | None = None
    batch: str | None = None
    since: datetime | None = None

    def clause(self) -> ColumnElement[bool]:
        conditions: list[ColumnElement[bool]] = [scope_clause(EVERYTHING)]
        if self.states:
            conditions.append(jobs.c.state.in_(self.states))
        if self.backend is not None:
            conditions.append(jobs.c.backend == self.backend)
        if self.batch is not None:
            named = or_(batches.c.name == self.batch, batches.c.key == self.batch)
            conditions.append(jobs.c.batch_id.in_(select(batches.c.id).where(named)))
        if self.since is not None:
            conditions.append(jobs.c.created_at >= self.since)
        return and_(*conditions)


def list_jobs(ledger: Ledger, which: Filter, *, limit: int = 20) -> list[Job]:
    """The newest matching jobs, newest first."""
    with ledger.read() as connection:
        rows = connection.execute(
            select(jobs).where(which.clause()).order_by(jobs.c.id.desc()).limit(limit)
        ).all()
    return [job_from_row(row) for row in rows]


def attempts_of(ledger: Ledger, job_id: UUID) -> list[Attempt]:
    """Every attempt of a job, first one first."""
    statement = select_attempts().where(attempts.c.job_id == job_id).order_by(attempts.c.number)
    with ledger.read() as connection:
        rows = connection.execute(statement).all()
    return [attempt_from_row(row) for row in rows]


def count_states(ledger: Ledger, scope: Scope) -> dict[JobState, int]:
    """How many jobs of the scope are in each state; states without a job are left out."""
    with ledger.read() as connection:
        rows = connection.execute(
            select(jobs.c.state, func.count()).where(scope_clause(scope)).group_by(jobs.c.state)
        ).all()
    return {JobState(state): number for state, number in rows}


def jobs_in(ledger: Ledger, scope: Scope, *, states: Sequence[JobState]) -> Iterator[Job]:
    """The jobs of the scope in those states, in order of submission; a hundred at a time."""
    last: UUID | None = None
    while True:
        with ledger.read() as connection:
            statement = select(jobs).where(scope_clause(scope), jobs.c.state.in_(states))
            if last is not None:
                statement = statement.where(jobs.c.id > last)
            rows = connection.execute(statement.order_by(jobs.c.id).limit(100)).all()
        yield from map(job_from_row, rows)
        if len(rows) < 100:
            return
        last = rows[-1].id
