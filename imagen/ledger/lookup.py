"""Questions about jobs that people and waiting commands ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, null, or_, select

from imagen.domain.job import TERMINAL_STATES, Attempt, Job, JobState
from imagen.errors import RequestError
from imagen.ledger.claim_statements import waiting
from imagen.ledger.engine import Ledger
from imagen.ledger.rows import LANE_NUMBER, attempt_from_row, job_from_row, select_attempts
from imagen.ledger.scope import EVERYTHING, Scope
from imagen.ledger.tables import attempts, batches, jobs
from imagen.ledger.types import now_plus, seconds_since


def get_job(ledger: Ledger, job_id: UUID) -> Job | None:
    """The job with that id, or nothing."""
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
    """Which jobs to list; everything that is not given matches."""

    states: tuple[JobState, ...] = ()
    backend: str | None = None
    batch: str | None = None
    since: datetime | None = None

    def clause(self) -> ColumnElement[bool]:
        conditions: list[ColumnElement[bool]] = [EVERYTHING.clause()]
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
    """How many jobs of the scope are in each state; states nobody is in are left out."""
    with ledger.read() as connection:
        rows = connection.execute(
            select(jobs.c.state, func.count()).where(scope.clause()).group_by(jobs.c.state)
        ).all()
    return {JobState(state): number for state, number in rows}


def has_unfinished(ledger: Ledger, scope: Scope) -> bool:
    """Whether any job of the scope is still on its way."""
    unfinished = jobs.c.state.not_in(TERMINAL_STATES)
    with ledger.read() as connection:
        return (
            connection.execute(select(jobs.c.id).where(scope.clause(), unfinished).limit(1)).first()
            is not None
        )


def running_ids(ledger: Ledger, scope: Scope, *, limit: int) -> list[UUID]:
    """Some jobs of the scope that are being drawn, the oldest first."""
    statement = (
        select(jobs.c.id)
        .where(scope.clause(), jobs.c.state == JobState.RUNNING)
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
        .where(scope.clause(), jobs.c.state.not_in(TERMINAL_STATES))
        .group_by(*columns)
        # The databases disagree about whether NULL comes first.
        .order_by(*columns[:3], func.coalesce(jobs.c.error_code, ""))
    )
    with ledger.read() as connection:
        rows = connection.execute(statement).all()
    return [Standstill(row.backend, row.queue, JobState(row.state), row.error_code) for row in rows]


def jobs_in(ledger: Ledger, scope: Scope, *, states: Sequence[JobState]) -> Iterator[Job]:
    """The jobs of the scope in those states, in order of submission; a hundred at a time."""
    last: UUID | None = None
    while True:
        with ledger.read() as connection:
            statement = select(jobs).where(scope.clause(), jobs.c.state.in_(states))
            if last is not None:
                statement = statement.where(jobs.c.id > last)
            rows = connection.execute(statement.order_by(jobs.c.id).limit(100)).all()
        yield from map(job_from_row, rows)
        if len(rows) < 100:
            return
        last = rows[-1].id


def next_due_s(ledger: Ledger, scope: Scope) -> float | None:
    """Seconds until the first waiting job of the scope is due; nothing when none waits for that.

    One that is due already waits for something else, such as the end of a pause.
    """
    with ledger.read() as connection:
        age = connection.scalar(
            select(func.max(seconds_since(jobs.c.not_before))).where(
                scope.clause(),
                jobs.c.state.in_([JobState.QUEUED, JobState.GENERATED]),
                jobs.c.not_before > now_plus(),
            )
        )
    return None if age is None else max(0.0, -float(age))


def waiting_queues(ledger: Ledger) -> list[str]:
    """The queues that any queued job is in; a few index look-ups, however many jobs there are."""
    found: list[str] = []
    with ledger.read() as connection:
        while True:
            statement = select(func.min(jobs.c.queue)).where(jobs.c.state == JobState.QUEUED)
            if found:
                statement = statement.where(jobs.c.queue > found[-1])
            queue = connection.scalar(statement)
            if queue is None:
                return found
            found.append(queue)


def any_waiting(ledger: Ledger, queue: str, backends: Sequence[str]) -> bool:
    """Whether any job of these backends could be claimed now from a queue."""
    # One look into the index for each: over several at once all that waits would be read.
    each = [
        exists().where(
            jobs.c.queue == queue,
            jobs.c.lane == lane,
            jobs.c.backend == backend,
            waiting(),
        )
        for lane in LANE_NUMBER.values()
        for backend in backends
    ]
    if not each:
        return False
    with ledger.read() as connection:
        return bool(connection.scalar(select(or_(*each))))


def count_waiting(ledger: Ledger, queue: str, *, most: int, without: Sequence[str] = ()) -> int:
    """How many jobs of a queue could be claimed now, counted up to ``most``.

    Those of the backends ``without`` are not counted.
    """
    some = select(jobs.c.id).where(_claimable(queue, without)).limit(most).subquery()
    with ledger.read() as connection:
        return connection.scalar(select(func.count()).select_from(some)) or 0


def _claimable(queue: str, without: Sequence[str]) -> ColumnElement[bool]:
    claimable = and_(jobs.c.queue == queue, waiting())
    return and_(claimable, jobs.c.backend.not_in(without)) if without else claimable


def waiting_jobs(
    ledger: Ledger, queue: str, *, skip: int, limit: int, without: Sequence[str] = ()
) -> list[Job]:
    """Jobs that could be claimed now, in claiming order, without the first ``skip``.

    Those of the backends ``without`` are left out.
    """
    statement = (
        select(jobs)
        .where(_claimable(queue, without))
        .order_by(jobs.c.lane, jobs.c.id)
        .offset(skip)
        .limit(limit)
    )
    with ledger.read() as connection:
        return [job_from_row(row) for row in connection.execute(statement)]


def hosts_to_deliver(ledger: Ledger) -> list[str]:
    """The hosts that have something to deliver which nobody is at."""
    statement = (
        select(jobs.c.delivery_host)
        .where(
            jobs.c.state == JobState.GENERATED,
            or_(jobs.c.lease_owner.is_(null()), jobs.c.lease_expires_at < now_plus()),
            or_(jobs.c.not_before.is_(null()), jobs.c.not_before <= now_plus()),
        )
        .distinct()
        .order_by(jobs.c.delivery_host)
    )
    with ledger.read() as connection:
        return list(connection.scalars(statement))


def crashed_waiting(ledger: Ledger, queues: Sequence[str], scope: Scope = EVERYTHING) -> bool:
    """Whether a job of the scope waits that runs alone in its process since it crashed workers."""
    with ledger.read() as connection:
        return (
            connection.execute(
                select(jobs.c.id)
                .where(jobs.c.queue.in_(queues), jobs.c.alone_since.is_not(null()), waiting(scope))
                .limit(1)
            ).first()
            is not None
        )
