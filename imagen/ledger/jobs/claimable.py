"""Finds the jobs that may be claimed by index look-ups alone, whatever else waits in the queues.

A walk over what waits would read every job that cannot be claimed: 100,000 of a paused backend
made a claim take 25 ms (measured), and 100,000 of a host that may take no more images 300 ms. So
recursive queries step from one value of an index's column to the next one: through the backends of
each lane, the hosts to deliver to where the scope names any, and the models of those that may be
claimed. Their number is that of backends, hosts and models in use, however many jobs wait.

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
    Select,
    String,
    Text,
    and_,
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


#: The columns by which the index of waiting jobs begins.
PREFIX = ("queue", "lane", "backend", "delivery_host")


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
        # A canceled job is claimed during a pause, too: its backend has to cancel it.
        or_(jobs.c.backend.not_in(_paused()), jobs.c.cancel_requested_at.is_not(null())),
        scope_clause(scope),
    )


def _paused() -> Select[tuple[str]]:
    return select(pauses.c.backend).where(
        or_(pauses.c.until.is_(null()), pauses.c.until > now_plus())
    )


def is_served(backend: ColumnElement[str], choice: Choice) -> ColumnElement[bool]:
    """Whether the claimant may take jobs of a backend, paused or not."""
    conditions: list[ColumnElement[bool]] = [true()]
    if choice.backends is not None:
        conditions.append(backend.in_(choice.backends))
    if choice.left_out:
        conditions.append(backend.not_in(choice.left_out))
    return and_(*conditions)


def is_eligible(choice: Choice) -> ColumnElement[bool]:
    """What the claimant requires of a job beside its queue and backend."""
    conditions = [scope_clause(choice.scope)]
    if choice.crashed is not None:
        alone = jobs.c.alone_since
        conditions.append(alone.is_not(null()) if choice.crashed else alone.is_(null()))
    return and_(*conditions)


def prefix_columns(choice: Choice) -> tuple[str, ...]:
    """The columns of the prefixes of waiting jobs."""
    scope = choice.scope
    names_hosts = scope.delivery_host is not None or bool(scope.without_hosts)
    # A batch has an index of its own, and mostly one host.
    return PREFIX if names_hosts and scope.batch_id is None else PREFIX[:-1]


def prefixes(choice: Choice, condition: ColumnElement[bool], name: str) -> CTE:
    """The values by which an index of ``condition`` begins, of jobs that may be taken.

    Columns: ``queue``, ``lane`` and ``backend``; for waiting jobs also ``delivery_host`` where the
    scope names hosts. What else narrows a scope is compared row by row.
    """
    lanes = union_all(
        *(
            select(literal(queue, String).label("queue"), literal(lane, Integer).label("lane"))
            for queue in choice.queues
            for lane in LANE_NUMBER.values()
        )
    ).subquery()
    found = _with_next(lanes, jobs.c.backend, _of_index(choice, condition), f"{name}_at")
    backend = found.c.backend
    allowed = and_(backend.not_in(_paused()), is_served(backend, choice))
    served = select(found).where(backend.is_not(null()), allowed).cte(name)
    if condition is PUT_OFF or "delivery_host" not in prefix_columns(choice):
        return served
    if choice.scope.delivery_host is not None:
        host = literal(choice.scope.delivery_host, Text).label("delivery_host")
        return select(*served.c, host).cte(f"{name}_here")
    found = _with_next(served, jobs.c.delivery_host, condition, f"{name}_hosts")
    wanted = found.c.delivery_host.not_in(choice.scope.without_hosts)
    is_one = found.c.delivery_host.is_not(null())
    return select(found).where(is_one, wanted).cte(f"{name}_wanted")


def _of_index(choice: Choice, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    batch_id = choice.scope.batch_id
    return condition if batch_id is None else and_(condition, jobs.c.batch_id == batch_id)


def _with_next(
    start: FromClause, column: ColumnElement[str], condition: ColumnElement[bool], name: str
) -> CTE:
    """``start`` with each value of one more column of an index, found by one look-up each.

    At the end of each row of ``start`` stands one with NULL.
    """
    known = [each.key for each in start.c]

    def next_value(at: FromClause, *more: ColumnElement[bool]) -> ColumnElement[str]:
        same = and_(*(jobs.c[name] == at.c[name] for name in known))
        found = select(func.min(column)).where(condition, same, *more)
        return found.correlate(at).scalar_subquery().label(column.key)

    found = select(*start.c, next_value(start)).cte(name, recursive=True)
    *same, last = found.c
    steps = select(*same, next_value(found, column > last)).where(last.is_not(null()))
    return found.union_all(steps)


def models(choice: Choice) -> CTE:
    """The prefixes of jobs that wait to be claimed, with each ``affinity``.

    For each prefix one without an affinity is among them, whether such jobs wait or not.
    """
    start = prefixes(choice, WAITS, "waiting")
    return _with_next(start, jobs.c.affinity, _of_index(choice, WAITS), "models")


def is_at(prefix: FromClause) -> ColumnElement[bool]:
    """The condition on ``jobs`` that a row has the values of a prefix."""
    return and_(*(jobs.c[name] == prefix.c[name] for name in PREFIX if name in prefix.c))


def rows_of_model(choice: Choice, model: FromClause, *, without_model: bool) -> Select[Any]:
    """The ids of the jobs of a row of ``models``, oldest first.

    ``without_model`` is for a row without an affinity, which is found in another way.
    """
    affinity = jobs.c.affinity
    # A range, and the order of the index: with an equality the order is that of the ids alone, and
    # PostgreSQL may walk through the primary key for it (measured: 76 ms).
    same = and_(affinity >= model.c.affinity, affinity <= model.c.affinity)
    if without_model:
        same = affinity.is_(null())
    rows = select(jobs.c.id).where(_of_index(choice, WAITS), is_at(model), same)
    return rows.where(is_eligible(choice)).order_by(affinity, jobs.c.id).correlate(model)


def due_rows(choice: Choice, prefix: FromClause, *, most: int) -> Select[Any]:
    """``id`` and ``affinity`` of a prefix's jobs whose wait is over, the longest due first."""
    return (
        select(jobs.c.id, jobs.c.affinity)
        .where(PUT_OFF, is_at(prefix), jobs.c.not_before <= now(), is_eligible(choice))
        .order_by(jobs.c.not_before, jobs.c.id)
        .limit(most)
        .correlate(prefix)
    )


def single_columns(choice: Choice) -> list[ColumnElement[Any]]:
    """The columns of a job that is claimed for itself, not as the first of its prefix and model."""
    prefix = [jobs.c[name] for name in prefix_columns(choice)]
    return [jobs.c.id, *prefix, jobs.c.affinity, true().label("is_single")]


def to_cancel(choice: Choice) -> Select[Any]:
    """The canceled jobs of paused backends, which their backends have to cancel; oldest first."""
    return (
        select(*single_columns(choice))
        .where(
            QUEUED,
            jobs.c.cancel_requested_at.is_not(null()),
            waiting(choice.scope),
            jobs.c.queue.in_(choice.queues),
            jobs.c.backend.in_(_paused()),
            is_served(jobs.c.backend, choice),
            is_eligible(choice),
        )
        .order_by(jobs.c.id)
        .limit(MOST_DUE)
    )
