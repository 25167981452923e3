"""The order in which jobs are claimed: the SQL of a claim, built once for each kind of claimant.

Building a statement takes SQLAlchemy longer than running it, so these are kept, with their values
as parameters. On PostgreSQL the whole claim is one statement and so one round trip; SQLite, which
has no data-changing CTEs, runs its two parts in one transaction.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Executable,
    Float,
    FromClause,
    Insert,
    Integer,
    Select,
    String,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    exists,
    false,
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
from imagen.ledger.jobs.claimable import (
    MOST_DUE,
    PUT_OFF,
    Choice,
    due_rows,
    is_eligible,
    is_served,
    models,
    prefix_columns,
    prefixes,
    rows_of_model,
    single_columns,
    to_cancel,
    waiting,
)
from imagen.ledger.store.engine import Kind
from imagen.ledger.store.tables import attempts, jobs
from imagen.ledger.store.types import now_plus, seconds_since

#: A waiting job is passed over in favor of the loaded model at most this often …
MAX_PASSED_OVER = 16
#: … and for at most this long.
MAX_PASSED_OVER_S = 300


def heads(choice: Choice, *, model: bool = False) -> FromClause:
    """The jobs one of which is the next to claim: the first of each prefix and model.

    Columns: those of ``single_columns``; ``is_single`` says that the row stands for itself and not
    for all of its prefix and model. ``model`` keeps only those of lane ``b_lane`` that need
    ``b_model``.
    """
    if choice.scope.job_ids is not None:
        return _named(choice, model=model)
    first = _first_of_models(choice, model=model)
    due = _first_due(choice, model=model)
    canceled = to_cancel(choice)
    if model:
        canceled = canceled.where(_needs_model(jobs))
    parts = (first, due, canceled.subquery())
    return _once(union_all(*(select(part) for part in parts)).cte("heads"))


def _once(found: CTE) -> CTE:
    """Let PostgreSQL compute it once: it would search for a first job again at each reference."""
    return found.prefix_with("MATERIALIZED", dialect="postgresql")


def _named(choice: Choice, *, model: bool) -> FromClause:
    """The jobs that the scope names, each for itself: found by their ids."""
    conditions = [
        waiting(choice.scope),
        jobs.c.queue.in_(choice.queues),
        is_served(jobs.c.backend, choice),
        is_eligible(choice),
    ]
    if model:
        conditions.append(_needs_model(jobs))
    return select(*single_columns(choice)).where(*conditions).cte("heads")


def _needs_model(table: FromClause) -> ColumnElement[bool]:
    return and_(
        table.c.lane == bindparam("b_lane", type_=Integer),
        table.c.affinity == bindparam("b_model", type_=Text),
    )


def _first_of_models(choice: Choice, *, model: bool) -> FromClause:
    each = models(choice)
    plain, loaded = (
        rows_of_model(choice, each, without_model=is_plain).limit(1).scalar_subquery()
        for is_plain in (True, False)
    )
    first = case((each.c.affinity.is_(null()), plain), else_=loaded)
    prefix = [each.c[name] for name in prefix_columns(choice)]
    found = select(first.label("id"), *prefix, each.c.affinity, false().label("is_single"))
    if model:
        found = found.where(_needs_model(each))
    firsts = _once(found.cte("firsts"))
    return select(firsts).where(firsts.c.id.is_not(null())).subquery()


def _first_due(choice: Choice, *, model: bool) -> FromClause:
    prefix = prefixes(choice, PUT_OFF, "put_off")
    some = due_rows(choice, prefix, most=MOST_DUE).subquery()
    oldest = select(some.c.id).order_by(some.c.id).limit(1)
    if model:
        oldest = oldest.where(some.c.affinity == bindparam("b_model", type_=Text))
    found = select(oldest.scalar_subquery().label("id"), prefix.c.lane)
    if model:
        found = found.where(prefix.c.lane == bindparam("b_lane", type_=Integer))
    each = _once(found.cte("due_firsts"))
    return select(*single_columns(choice)).join_from(each, jobs, jobs.c.id == each.c.id).subquery()


@lru_cache(maxsize=256)
def first_waiting(choice: Choice) -> Select[tuple[UUID, int, str | None, bool, bool]]:
    """The job that comes first by lane and age, whatever is loaded.

    ``may_prefer`` says whether another one of its lane may need ``b_model``.
    """
    # Counted from the first time, not from the submission: late in a long batch every row is old.
    has_waited_enough = or_(
        jobs.c.passed_over >= MAX_PASSED_OVER,
        func.coalesce(jobs.c.passed_over_since, now_plus()) < now_plus(-MAX_PASSED_OVER_S),
    )
    head = heads(choice)
    first = select(head.c.id).order_by(head.c.lane, head.c.id).limit(1).scalar_subquery()
    # Behind one whose wait is over there may be others that need the model.
    fits = or_(head.c.affinity == bindparam("b_model", type_=Text), head.c.is_single)
    may_prefer = exists().where(head.c.lane == jobs.c.lane, fits)
    columns = (
        *(jobs.c.id, jobs.c.lane, jobs.c.affinity),
        *(has_waited_enough.label("has_waited_enough"), may_prefer.label("may_prefer")),
    )
    return select(*columns).where(jobs.c.id == first)


@lru_cache(maxsize=256)
def take(choice: Choice, kind: Kind, *, model: bool) -> Executable:
    """Lease the job that comes first, or the first in lane ``b_lane`` that needs ``b_model``.

    Parameters: b_owner, b_lease_s, b_attempt (the id of an attempt to open). Returns the whole row
    and ``limited_s``; on PostgreSQL the new attempt is opened by the same statement.
    """
    head = heads(choice, model=model)
    ordered = select(head).order_by(head.c.lane, head.c.id)
    first = select(head.c.id).order_by(head.c.lane, head.c.id).limit(1).subquery()
    if kind == "postgresql":
        first = _first_unlocked(choice, ordered.subquery("head")).subquery()
    claimed = _lease(select(first.c.id))
    if kind == "sqlite":
        return claimed
    row = claimed.cte("claimed")
    opened = _open_attempt(row).cte("opened")
    claim: Executable = select(row, relaxed().label("relaxed")).add_cte(opened)
    return claim


def _open_attempt(job: FromClause) -> Insert:
    """The attempt of a claimed job that has none open yet: the one that the claim gave it."""
    values = select(
        job.c.attempt_id,
        job.c.id,
        job.c.attempt_count,
        job.c.backend,
        bindparam("b_owner", type_=Text),
        literal(AttemptState.STARTED.value, String),
        literal("", Text),
        now_plus(),
    )
    columns = ["id", "job_id", "number", "backend", "worker", "state", "place", "created_at"]
    is_new = job.c.attempt_id == bindparam("b_attempt", type_=Uuid)
    return insert(attempts).from_select(columns, values.where(is_new))


#: SQLite's second part, for the job ``b_job``.
OPEN_ATTEMPT: Insert = _open_attempt(
    select(jobs).where(jobs.c.id == bindparam("b_job", type_=Uuid)).subquery()
)


def _first_unlocked(choice: Choice, head: FromClause) -> Select[tuple[UUID]]:
    """The first job that no other claim is about to take, locked: of the first head that has one.

    A nested loop, as the inner query refers to the outer one: it ends with the first row.
    """
    is_one = and_(jobs.c.id == head.c.id, waiting(), is_eligible(choice))
    rows = [
        rows_of_model(choice, head, without_model=False).where(~head.c.is_single),
        rows_of_model(choice, head, without_model=True).where(
            ~head.c.is_single, head.c.affinity.is_(null())
        ),
        select(jobs.c.id).where(is_one, head.c.is_single).correlate(head),
    ]
    locked = [each.limit(1).with_for_update(skip_locked=True, of=jobs).subquery() for each in rows]
    found = union_all(*(select(each.c.id) for each in locked)).lateral("unlocked")
    return select(found.c.id).join_from(head, found, true()).limit(1)


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


def relaxed() -> ColumnElement[str]:
    """As a column of a PostgreSQL statement: its own commit need not wait for the disk.

    A setting that is local to the transaction, and the statement is the transaction; so it works
    through a transaction pooler and costs no round trip.
    """
    return func.set_config("synchronous_commit", "off", true())
