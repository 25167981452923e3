"""What was not sent from this ledger yet, and why; and usage that was never put into the outbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, func, null, or_, select, true
from uuid_utils.compat import uuid7

from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING, Scope
from imagen.domain.usage import UsageRow
from imagen.ledger.outbox.outbox import belongs
from imagen.ledger.queries.usage_rows import in_span, usage_row
from imagen.ledger.store.clauses import insert_on, scope_clause
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.outgoing_tables import USAGE_SINK, imagen_usage, outbox
from imagen.ledger.store.tables import attempts, jobs
from imagen.ledger.store.types import now_plus

_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """Items that did not arrive for the same reason; ``why`` is "" before the first try."""

    sink: str
    number: int
    why: str
    oldest_at: datetime
    #: How many of them some process is at right now.
    held: int


def backlog(ledger: Ledger, scope: Scope = EVERYTHING, *, limit: int = 20) -> list[Backlog]:
    """What waits of the scope's jobs, by sink and reason, the most frequent reasons first."""
    why = func.coalesce(outbox.c.last_error, "")
    is_held = and_(outbox.c.lease_owner.is_not(null()), outbox.c.lease_expires_at > now_plus())
    number = func.count()
    statement = (
        select(
            outbox.c.sink,
            number.label("number"),
            why.label("why"),
            func.min(outbox.c.created_at).label("oldest_at"),
            func.count().filter(is_held).label("held"),
        )
        .where(outbox.c.done_at.is_(null()), belongs(scope))
        .group_by(outbox.c.sink, why)
        .order_by(number.desc(), outbox.c.sink, why)
        .limit(limit)
    )
    with ledger.read() as connection:
        rows = connection.execute(statement).all()
    return [Backlog(row.sink, row.number, row.why, row.oldest_at, row.held) for row in rows]


def kept_usage(ledger: Ledger, scope: Scope = EVERYTHING) -> Backlog | None:
    """Usage rows of the scope's jobs that were never put into the outbox; None without any."""
    statement = (
        select(func.count().label("number"), func.min(imagen_usage.c.created_at).label("oldest_at"))
        .select_from(imagen_usage.join(attempts, attempts.c.id == imagen_usage.c.attempt_id))
        .where(~_has_outbox_item())
    )
    if scope != EVERYTHING:
        of_scope = select(jobs.c.id).where(scope_clause(scope))
        statement = statement.where(attempts.c.job_id.in_(of_scope))
    with ledger.read() as connection:
        row = connection.execute(statement).one()
    if not row.number:
        return None
    return Backlog(USAGE_SINK, row.number, "", row.oldest_at, held=0)


def count_paid_here_only(ledger: Ledger, scope: Scope) -> int:
    """How many of the scope's images cost money, or may have, whose usage stays in this ledger."""
    statement = (
        select(func.count())
        .select_from(jobs.join(attempts, attempts.c.id == jobs.c.attempt_id))
        .where(
            scope_clause(scope),
            jobs.c.state == JobState.SUCCEEDED.value,
            attempts.c.is_metered,
            or_(attempts.c.cost_usd.is_(null()), attempts.c.cost_usd > 0),
            ~exists().where(outbox.c.attempt_id == attempts.c.id, outbox.c.sink == USAGE_SINK),
        )
    )
    with ledger.read() as connection:
        return connection.scalar(statement) or 0


def put_kept_usage_in_outbox(ledger: Ledger) -> int:
    """Let usage go out that was recorded while there was nowhere to send it; says how much."""
    added = last = 0
    while rows := _kept(ledger, above=last):
        last = rows[-1].id
        statement = insert_on(ledger, outbox).values(created_at=now_plus(), sink=USAGE_SINK)
        with ledger.write() as connection:
            connection.execute(
                statement.on_conflict_do_nothing(index_elements=["attempt_id", "sink"]),
                [
                    {"id": uuid7(), "job_id": row.job_id, "attempt_id": row.attempt_id}
                    for row in rows
                ],
            )
        added += len(rows)
    return added


def _kept(ledger: Ledger, *, above: int) -> Sequence[Row[Any, Any, Any]]:
    """Usage rows of ours that have no item, a thousand at a time, by id from ``above`` on."""
    statement = (
        select(imagen_usage.c.id, attempts.c.job_id, imagen_usage.c.attempt_id)
        .select_from(imagen_usage.join(attempts, attempts.c.id == imagen_usage.c.attempt_id))
        .where(imagen_usage.c.id > above, ~_has_outbox_item())
        .order_by(imagen_usage.c.id)
        .limit(_CHUNK)
    )
    with ledger.read() as connection:
        return connection.execute(statement).all()


def read_unsent_usage(
    ledger: Ledger, *, since: datetime | None, until: datetime | None
) -> Iterator[UsageRow]:
    """The usage rows of a time span that did not reach the sink, or are not known to have."""
    arrived = _has_outbox_item(outbox.c.done_at.is_not(null()))
    statement = (
        select(imagen_usage)
        .where(~arrived, *in_span(since, until))
        .order_by(imagen_usage.c.created_at, imagen_usage.c.id)
    )
    with ledger.stream() as connection:
        for row in connection.execute(statement):
            yield usage_row(row)


def _has_outbox_item(condition: ColumnElement[bool] | None = None) -> ColumnElement[bool]:
    return exists().where(
        outbox.c.attempt_id == imagen_usage.c.attempt_id,
        outbox.c.sink == USAGE_SINK,
        true() if condition is None else condition,
    )
