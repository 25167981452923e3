"""Questions about jobs that people and waiting commands ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Row,
    ScalarSelect,
    Select,
    and_,
    func,
    null,
    or_,
    select,
    true,
    union_all,
)

from imagen.domain.job import Attempt, Job, JobState
from imagen.domain.scope import EVERYTHING, Scope
from imagen.errors import RequestError
from imagen.ledger.jobs.claimable import (
    PUT_OFF,
    WAITS,
    Choice,
    due_rows,
    groups,
    is_at,
    places,
    to_cancel,
    waiting,
)
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.rows import attempt_from_row, job_from_row, select_attempts
from imagen.ledger.store.scope_clause import scope_clause
from imagen.ledger.store.tables import attempts, batches, jobs
from imagen.ledger.store.types import now, now_plus, seconds_since

_UNFINISHED = (JobState.QUEUED, JobState.RUNNING, JobState.GENERATED)


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
    """How many jobs of the scope are in each state; states nobody is in are left out."""
    with ledger.read() as connection:
        rows = connection.execute(
            select(jobs.c.state, func.count()).where(scope_clause(scope)).group_by(jobs.c.state)
        ).all()
    return {JobState(state): number for state, number in rows}


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


def waiting_queues(ledger: Ledger) -> list[str]:
    """The queues that any queued job is in; a few index look-ups, however many jobs there are."""
    found: list[str] = []
    with ledger.read() as connection:
        while True:
            firsts = [
                select(func.min(jobs.c.queue)).where(
                    condition, jobs.c.queue > found[-1] if found else true()
                )
                for condition in (WAITS, PUT_OFF)
            ]
            queues = connection.scalars(union_all(*firsts)).all()
            if not any(queues):
                return found
            found.append(min(filter(None, queues)))


def any_waiting(ledger: Ledger, queue: str, backends: Sequence[str]) -> bool:
    """Whether any job of these backends could be claimed now from a queue."""
    choice = Choice((queue,), backends=tuple(backends))
    place, due_place = places(choice, WAITS, "places"), places(choice, PUT_OFF, "due_places")
    is_due = due_rows(choice, due_place, most=1).exists()
    canceled = to_cancel(choice).subquery()
    either = union_all(
        select(place.c.backend),
        select(due_place.c.backend).where(is_due),
        select(canceled.c.backend),
    )
    with ledger.read() as connection:
        return connection.execute(either.limit(1)).first() is not None


def count_waiting(ledger: Ledger, queue: str, *, most: int, without: Sequence[str] = ()) -> int:
    """How many jobs of a queue could be claimed now, counted up to ``most``.

    Those of the backends ``without`` are not counted. At most ``most`` of each backend are read.
    """
    choice = Choice((queue,), left_out=tuple(without))
    place = places(choice, WAITS, "places")
    ready = select(jobs.c.id).where(WAITS, is_at(place)).limit(most).correlate(place)
    due_place = places(choice, PUT_OFF, "due_places")
    due = due_rows(choice, due_place, most=most)
    counts = union_all(
        select(_count(ready).label("number")).select_from(place),
        select(_count(due).label("number")).select_from(due_place),
        select(_count(to_cancel(choice)).label("number")),
    ).subquery()
    with ledger.read() as connection:
        number = connection.scalar(select(func.coalesce(func.sum(counts.c.number), 0)))
    return min(int(number or 0), most)


def _count(rows: Select[Any]) -> ScalarSelect[int]:
    return select(func.count()).select_from(rows.subquery()).scalar_subquery()


def waiting_jobs(
    ledger: Ledger, queue: str, *, skip: int, limit: int, without: Sequence[str] = ()
) -> list[Job]:
    """Jobs that could be claimed now, in claiming order, without the first ``skip``.

    Those of the backends ``without`` are left out. Of each backend and model so many are read as
    are skipped and asked for, and none that cannot be claimed.
    """
    choice = Choice((queue,), left_out=tuple(without))
    with ledger.read() as connection:
        group, place = groups(choice), places(choice, PUT_OFF, "due_places")
        rows = [_of_group(row, skip + limit) for row in connection.execute(select(group))]
        rows += [_of_place(row, skip + limit) for row in connection.execute(select(place))]
        canceled = to_cancel(choice).subquery()
        rows.append(select(canceled.c.id, canceled.c.lane))
        each = union_all(*(select(some.subquery()) for some in rows)).subquery()
        ordered = select(each.c.id).order_by(each.c.lane, each.c.id).offset(skip).limit(limit)
        chosen = select(jobs).where(jobs.c.id.in_(ordered)).order_by(jobs.c.lane, jobs.c.id)
        return [job_from_row(row) for row in connection.execute(chosen)]


def _of_group(group: Row[Any], most: int) -> Select[Any]:
    same = _same_place(group)
    rows = select(jobs.c.id, jobs.c.lane).where(WAITS, same, jobs.c.affinity == group.affinity)
    return rows.order_by(jobs.c.id).limit(most)


def _of_place(place: Row[Any], most: int) -> Select[Any]:
    is_due = and_(PUT_OFF, jobs.c.not_before <= now())
    rows = select(jobs.c.id, jobs.c.lane).where(is_due, _same_place(place))
    return rows.order_by(jobs.c.not_before, jobs.c.id).limit(most)


def _same_place(row: Row[Any]) -> ColumnElement[bool]:
    return and_(jobs.c.queue == row.queue, jobs.c.lane == row.lane, jobs.c.backend == row.backend)


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


def crashed_waiting(
    ledger: Ledger,
    queues: Sequence[str],
    scope: Scope = EVERYTHING,
    *,
    left_out: Sequence[str] = (),
) -> bool:
    """Whether a job of the scope waits that runs alone in its process since it crashed workers.

    Those of the backends ``left_out`` do not count.
    """
    crashed = and_(jobs.c.queue.in_(queues), jobs.c.alone_since.is_not(null()), waiting(scope))
    if left_out:
        crashed = and_(crashed, jobs.c.backend.not_in(left_out))
    with ledger.read() as connection:
        return connection.execute(select(jobs.c.id).where(crashed).limit(1)).first() is not None
