"""Finds the jobs that may be claimed by index look-ups alone, whatever else waits in the queues.

A walk over what waits would read every job that cannot be claimed: 100,000 of a paused backend
made a claim take 25 ms (measured). So a recursive query steps from one value of an index's column
to the next one, first through the backends of each lane and then through the models of each backend
that may be claimed, and takes the first job of each. Their number is that of backends and models in
use, however many jobs wait.

SQLite uses no index where a row of several values is compared to columns of a recursive query, so
each step compares one column. Source: measured on SQLite 3.40 and 3.45.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Integer,
    ScalarSelect,
    Select,
    String,
    Text,
    and_,
    bindparam,
    case,
    false,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)

from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING, Scope
from imagen.ledger.store.clauses import scope_clause
from imagen.ledger.store.rows import LANE_NUMBER
from imagen.ledger.store.tables import jobs, pauses
from imagen.ledger.store.types import now, now_plus

#: So many jobs whose wait is over are compared by age, for each backend of a lane; with more the
#: oldest of those that came due first goes first.
MOST_DUE = 64

#: The conditions of the partial indexes, as SQLite must find them in a query to use those.
QUEUED = jobs.c.state == JobState.QUEUED
WAITS = and_(QUEUED, jobs.c.not_before.is_(null()))
PUT_OFF = and_(QUEUED, jobs.c.not_before.is_not(null()))


class Choice(NamedTuple):
    """Which waiting jobs a claimant may take."""

    queues: tuple[str, ...]
    scope: Scope = EVERYTHING
    crashed: bool | None = None
    backends: tuple[str, ...] | None = None
    left_out: tuple[str, ...] = ()


def waiting(scope: Scope = EVERYTHING) -> ColumnElement[bool]:
    """The condition on ``jobs`` that a row may be claimed now."""
    return and_(
        QUEUED,
        or_(jobs.c.not_before.is_(null()), jobs.c.not_before <= now()),
        # A pause does not keep a backend from being told of a cancel.
        or_(jobs.c.backend.not_in(_paused()), jobs.c.cancel_requested_at.is_not(null())),
        scope_clause(scope),
    )


def _paused() -> Select[tuple[str]]:
    return select(pauses.c.backend).where(
        or_(pauses.c.until.is_(null()), pauses.c.until > now_plus())
    )


def heads(choice: Choice, *, model: bool = False) -> FromClause:
    """The jobs one of which is the next to claim: the first of each backend and model.

    Columns: ``id``, ``queue``, ``lane``, ``backend``, ``affinity`` and ``is_single``, which says
    that the row stands for itself and not for all of its queue, lane, backend and model. ``model``
    keeps only those of lane ``b_lane`` that need ``b_model``.
    """
    if choice.scope.job_ids is not None:
        return _named(choice, model=model)
    first = _first_of_groups(choice, model=model)
    due = _first_due(choice, model=model)
    canceled = to_cancel(choice)
    if model:
        canceled = canceled.where(_needs_model(jobs))
    parts = (first, due, canceled.subquery())
    return _once(union_all(*(select(part) for part in parts)).cte("heads"))


def _once(found: CTE) -> CTE:
    """Let PostgreSQL work it out once: it would look for a first job again wherever it is named."""
    return found.prefix_with("MATERIALIZED", dialect="postgresql")


def _named(choice: Choice, *, model: bool) -> FromClause:
    """The jobs that the scope names, each for itself: found by their ids."""
    conditions = [
        waiting(choice.scope),
        jobs.c.queue.in_(choice.queues),
        _is_served(jobs.c.backend, choice),
        is_eligible(choice),
    ]
    if model:
        conditions.append(_needs_model(jobs))
    return select(*_SINGLE).where(*conditions).cte("heads")


def to_cancel(choice: Choice) -> Select[Any]:
    """The jobs of paused backends that these are to be told of, each for itself, oldest first."""
    return (
        select(*_SINGLE)
        .where(
            QUEUED,
            jobs.c.cancel_requested_at.is_not(null()),
            waiting(choice.scope),
            jobs.c.queue.in_(choice.queues),
            jobs.c.backend.in_(_paused()),
            _is_served(jobs.c.backend, choice),
            is_eligible(choice),
        )
        .order_by(jobs.c.id)
        .limit(MOST_DUE)
    )


#: The columns of a head that stands for itself.
_SINGLE = (
    *(jobs.c.id, jobs.c.queue, jobs.c.lane, jobs.c.backend, jobs.c.affinity),
    true().label("is_single"),
)


def _needs_model(table: FromClause) -> ColumnElement[bool]:
    return and_(
        table.c.lane == bindparam("b_lane", type_=Integer),
        table.c.affinity == bindparam("b_model", type_=Text),
    )


def is_eligible(choice: Choice) -> ColumnElement[bool]:
    """What the claimant asks of a job beside its queue and backend."""
    conditions = [scope_clause(choice.scope)]
    if choice.crashed is not None:
        alone = jobs.c.alone_since
        conditions.append(alone.is_not(null()) if choice.crashed else alone.is_(null()))
    return and_(*conditions)


def _is_served(backend: ColumnElement[str], choice: Choice) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [true()]
    if choice.backends is not None:
        conditions.append(backend.in_(choice.backends))
    if choice.left_out:
        conditions.append(backend.not_in(choice.left_out))
    return and_(*conditions)


def places(choice: Choice, condition: ColumnElement[bool], name: str) -> CTE:
    """The ``queue``, ``lane`` and ``backend`` of the jobs that meet an index's condition.

    Those that the claimant may take, and at the end of each lane one without a backend.
    """

    def next_backend(at: FromClause, *conditions: ColumnElement[bool]) -> ColumnElement[str]:
        same = and_(jobs.c.queue == at.c.queue, jobs.c.lane == at.c.lane)
        found = select(func.min(jobs.c.backend)).where(
            condition, _in_batch(choice), same, *conditions
        )
        return found.correlate(at).scalar_subquery().label("backend")

    lanes = union_all(
        *(
            select(literal(queue, String).label("queue"), literal(lane, Integer).label("lane"))
            for queue in choice.queues
            for lane in LANE_NUMBER.values()
        )
    ).subquery()
    found = select(lanes.c.queue, lanes.c.lane, next_backend(lanes)).cte(
        f"{name}_at", recursive=True
    )
    after = next_backend(found, jobs.c.backend > found.c.backend)
    steps = select(found.c.queue, found.c.lane, after).where(found.c.backend.is_not(null()))
    found = found.union_all(steps)
    columns = (found.c.queue, found.c.lane, found.c.backend)
    is_one = found.c.backend.is_not(null())
    is_allowed = and_(found.c.backend.not_in(_paused()), _is_served(found.c.backend, choice))
    return select(*columns).where(is_one, is_allowed).cte(name)


def _in_batch(choice: Choice) -> ColumnElement[bool]:
    """A batch has an index of its own; what else narrows a scope is looked at row by row."""
    batch_id = choice.scope.batch_id
    return true() if batch_id is None else jobs.c.batch_id == batch_id


def groups(choice: Choice) -> CTE:
    """The ``queue``, ``lane``, ``backend`` and ``affinity`` of jobs that wait to be claimed.

    For each backend one without an affinity is among them, whether such jobs wait or not.
    """
    place = places(choice, WAITS, "places")

    def next_affinity(
        start: FromClause, *conditions: ColumnElement[bool]
    ) -> ScalarSelect[str | None]:
        return (
            select(func.min(jobs.c.affinity))
            .where(WAITS, _in_batch(choice), is_at(start), *conditions)
            .correlate(start)
            .scalar_subquery()
        )

    columns = (place.c.queue, place.c.lane, place.c.backend)
    found = select(*columns, next_affinity(place).label("affinity")).cte("models", recursive=True)
    more = next_affinity(found, jobs.c.affinity > found.c.affinity).label("affinity")
    steps = select(found.c.queue, found.c.lane, found.c.backend, more)
    return found.union_all(steps.where(found.c.affinity.is_not(null())))


def is_at(place: FromClause) -> ColumnElement[bool]:
    """The condition on ``jobs`` that a row is of this queue, lane and backend."""
    return and_(
        jobs.c.queue == place.c.queue,
        jobs.c.lane == place.c.lane,
        jobs.c.backend == place.c.backend,
    )


def group_rows(choice: Choice, group: FromClause, *, without_model: bool) -> Select[Any]:
    """The ids of the jobs of a row of ``groups``, oldest first.

    ``without_model`` is for a row without an affinity, which is found in another way.
    """
    affinity = jobs.c.affinity
    # A range, and the order of the index: with an equality the order is that of the ids alone, and
    # PostgreSQL may walk through the primary key for it (measured: 76 ms).
    same = and_(affinity >= group.c.affinity, affinity <= group.c.affinity)
    if without_model:
        same = affinity.is_(null())
    rows = select(jobs.c.id).where(WAITS, _in_batch(choice), is_at(group), same)
    return rows.where(is_eligible(choice)).order_by(affinity, jobs.c.id).correlate(group)


def _first_of_groups(choice: Choice, *, model: bool) -> FromClause:
    group = groups(choice)
    plain, loaded = (
        group_rows(choice, group, without_model=each).limit(1).scalar_subquery()
        for each in (True, False)
    )
    first = case((group.c.affinity.is_(null()), plain), else_=loaded)
    columns = (group.c.queue, group.c.lane, group.c.backend, group.c.affinity)
    found = select(first.label("id"), *columns, false().label("is_single"))
    if model:
        found = found.where(_needs_model(group))
    each = _once(found.cte("firsts"))
    return select(each).where(each.c.id.is_not(null())).subquery()


def due_rows(choice: Choice, place: FromClause, *, most: int) -> Select[Any]:
    """``id`` and ``affinity`` of the jobs of a place whose wait is over, the longest due first."""
    return (
        select(jobs.c.id, jobs.c.affinity)
        .where(PUT_OFF, is_at(place), jobs.c.not_before <= now(), is_eligible(choice))
        .order_by(jobs.c.not_before, jobs.c.id)
        .limit(most)
        .correlate(place)
    )


def _first_due(choice: Choice, *, model: bool) -> FromClause:
    place = places(choice, PUT_OFF, "due_places")
    some = due_rows(choice, place, most=MOST_DUE).subquery()
    oldest = select(some.c.id).order_by(some.c.id).limit(1)
    if model:
        oldest = oldest.where(some.c.affinity == bindparam("b_model", type_=Text))
    columns = (place.c.queue, place.c.lane, place.c.backend)
    found = select(oldest.scalar_subquery().label("id"), *columns)
    if model:
        found = found.where(place.c.lane == bindparam("b_lane", type_=Integer))
    each = _once(found.cte("due_firsts"))
    return (
        select(
            *(each.c.id, each.c.queue, each.c.lane, each.c.backend),
            jobs.c.affinity,
            true().label("is_single"),
        )
        .join_from(each, jobs, jobs.c.id == each.c.id)
        .subquery()
    )
