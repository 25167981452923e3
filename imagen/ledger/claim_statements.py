"""The SQL of a claim, built once for each kind of claimant: it runs for every job that is drawn.

Building a statement costs SQLAlchemy more than running it, so these are kept, with their values as
parameters. On PostgreSQL the whole claim is one statement and so one round trip; SQLite, which has
no data-changing CTEs, runs its two parts in one transaction.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Executable,
    Float,
    Insert,
    Integer,
    Select,
    String,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from imagen.domain.job import AttemptState, JobState
from imagen.ledger.engine import Kind
from imagen.ledger.scope import EVERYTHING, Scope
from imagen.ledger.tables import attempts, jobs, pauses
from imagen.ledger.types import now_plus, seconds_since

#: A waiting job is passed over for the loaded model's sake at most this often …
MAX_PASSED_OVER = 16
#: … and for at most this long.
MAX_PASSED_OVER_S = 300


class Choice(NamedTuple):
    """Which waiting jobs a claimant may take."""

    queues: tuple[str, ...]
    scope: Scope
    crashed: bool | None
    backends: tuple[str, ...] | None
    left_out: tuple[str, ...] = ()


def waiting(scope: Scope = EVERYTHING) -> ColumnElement[bool]:
    """The condition on ``jobs`` that a row may be claimed now."""
    paused = select(pauses.c.backend).where(
        or_(pauses.c.until.is_(null()), pauses.c.until > now_plus())
    )
    return and_(
        jobs.c.state == JobState.QUEUED,
        or_(jobs.c.not_before.is_(null()), jobs.c.not_before <= now_plus()),
        # A pause does not keep a backend from being told of a cancel.
        or_(jobs.c.backend.not_in(paused), jobs.c.cancel_requested_at.is_not(null())),
        scope.clause(),
    )


def _conditions(choice: Choice) -> ColumnElement[bool]:
    """What a row must be beside waiting in one of the queues."""
    conditions = [waiting(choice.scope)]
    if choice.backends is not None:
        conditions.append(jobs.c.backend.in_(choice.backends))
    if choice.left_out:
        conditions.append(jobs.c.backend.not_in(choice.left_out))
    if choice.crashed is not None:
        conditions.append(
            jobs.c.alone_since.is_not(null()) if choice.crashed else jobs.c.alone_since.is_(null())
        )
    return and_(*conditions)


def _first(
    choice: Choice,
    *columns: ColumnElement[Any],
    only: ColumnElement[bool] | None = None,
    locked: bool = False,
) -> Select[Any]:
    """``id``, ``lane`` and ``columns`` of the row that comes first by lane and age.

    One look into the index for each queue: over several at once a database sorts all that waits.
    """
    conditions = _conditions(choice) if only is None else and_(_conditions(choice), only)
    firsts = [
        select(jobs.c.id, jobs.c.lane, *columns)
        .where(jobs.c.queue == queue, conditions)
        .order_by(jobs.c.lane, jobs.c.id)
        .limit(1)
        for queue in choice.queues
    ]
    if locked:
        firsts = [first.with_for_update(skip_locked=True) for first in firsts]
    if len(firsts) == 1:
        return firsts[0]
    each = union_all(*(select(first.subquery()) for first in firsts)).subquery()
    return select(each).order_by(each.c.lane, each.c.id).limit(1)


@lru_cache(maxsize=256)
def first_waiting(choice: Choice) -> Select[tuple[UUID, int, str | None, bool]]:
    """The job that comes first by lane and age, whatever is loaded."""
    # Counted from the first time, not from the submission: late in a long batch every row is old.
    is_fed_up = or_(
        jobs.c.passed_over >= MAX_PASSED_OVER,
        func.coalesce(jobs.c.passed_over_since, now_plus()) < now_plus(-MAX_PASSED_OVER_S),
    )
    return _first(choice, jobs.c.affinity, is_fed_up.label("is_fed_up"))


@lru_cache(maxsize=256)
def first_with_model(choice: Choice) -> Select[tuple[UUID, int]]:
    """The job that comes first in lane ``b_lane`` among those that need ``b_model``."""
    lane = jobs.c.lane == bindparam("b_lane", type_=Integer)
    model = jobs.c.affinity == bindparam("b_model", type_=Text)
    return _first(choice, only=and_(lane, model))


@lru_cache(maxsize=256)
def take(choice: Choice, kind: Kind, *, one: bool) -> Executable:
    """Lease the first waiting job, or the job ``b_job`` if it still waits (``one``).

    Parameters: b_owner, b_lease_s, b_attempt (the id of an attempt to open), and b_job. Returns the
    whole row and ``limited_s``; on PostgreSQL the new attempt is opened by the same statement.
    """
    only = jobs.c.id == bindparam("b_job", type_=Uuid) if one else None
    first = _first(choice, only=only, locked=True).subquery()
    claimed = _lease(select(first.c.id))
    if kind == "sqlite":
        return claimed
    row = claimed.cte("claimed")
    opened = (
        insert(attempts)
        .from_select(
            ["id", "job_id", "number", "backend", "worker", "state", "place", "created_at"],
            select(
                row.c.attempt_id,
                row.c.id,
                row.c.attempt_count,
                row.c.backend,
                bindparam("b_owner", type_=Text),
                literal(AttemptState.STARTED.value, String),
                literal("", Text),
                now_plus(),
            ).where(row.c.attempt_id == bindparam("b_attempt", type_=Uuid)),
        )
        .cte("opened")
    )
    claim: Executable = select(row, relaxed().label("relaxed")).add_cte(opened)
    return claim


def _lease(chosen: Select[tuple[UUID]]) -> ReturningUpdate[Any]:
    return (
        update(jobs)
        .where(jobs.c.id == chosen.scalar_subquery(), jobs.c.state == JobState.QUEUED)
        .values(
            state=JobState.RUNNING.value,
            lease_owner=bindparam("b_owner", type_=Text),
            lease_expires_at=now_plus(bindparam("b_lease_s", type_=Float)),
            fence=jobs.c.fence + 1,
            not_before=null(),
            started_at=func.coalesce(jobs.c.started_at, now_plus()),
            attempt_count=jobs.c.attempt_count + case((jobs.c.attempt_id.is_(null()), 1), else_=0),
            attempt_id=func.coalesce(jobs.c.attempt_id, bindparam("b_attempt", type_=Uuid)),
        )
        .returning(jobs, seconds_since(jobs.c.limited_since).label("limited_s"))
    )


#: SQLite's second part: the attempt of a claim that found none open.
OPEN_ATTEMPT: Insert = insert(attempts).values(
    id=bindparam("b_id"),
    job_id=bindparam("b_job_id"),
    number=bindparam("b_number"),
    backend=bindparam("b_backend"),
    worker=bindparam("b_owner"),
    state=AttemptState.STARTED.value,
    place="",
    created_at=now_plus(),
)


def relaxed() -> ColumnElement[str]:
    """As a column of a PostgreSQL statement: its own commit need not wait for the disk.

    A setting that is local to the transaction, and the statement is the transaction; so it works
    through a transaction pooler and costs no round trip.
    """
    return func.set_config("synchronous_commit", "off", true())
