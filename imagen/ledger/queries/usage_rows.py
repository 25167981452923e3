"""The usage table: one row for each attempt that a backend drew, and never its prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    and_,
    func,
    literal_column,
    select,
    true,
)

from imagen.domain.job import Claim, record_of
from imagen.domain.prompt import hash_prompt
from imagen.ledger.outbox.outbox import put_in_outbox
from imagen.ledger.store.clauses import insert_on
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.outgoing_tables import USAGE_SINK, imagen_usage
from imagen.ledger.store.types import UtcDateTime, now_plus


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one image cost and took; ``cost_usd`` is nothing where the price is unknown."""

    created_at: datetime
    backend: str
    model: str | None
    seed: int | None
    prompt_hash: str
    latency_ms: int | None
    cost_usd: Decimal | None
    caller: str
    attempt_id: UUID | None = None


#: What usage may be grouped by, in the order of the columns.
GROUPINGS = ("week", "backend", "model", "caller")


@dataclass(frozen=True, slots=True)
class UsageSum:
    """A group of usage rows; ``unpriced`` counts images of unknown price, beside the sum."""

    key: tuple[str, ...]
    count: int
    cost_usd: Decimal
    unpriced: int
    median_latency_ms: int | None


def usage_of(claim: Claim) -> dict[str, Any]:
    """The columns of an attempt's usage row, but for when it was written."""
    attempt, record = claim.attempt, record_of(claim.job, claim.attempt)
    return {
        "backend": attempt.backend,
        "model": record.model,
        "seed": record.seed,
        "prompt_hash": hash_prompt(claim.job.request.prompt),
        "latency_ms": attempt.latency_ms,
        "cost_usd_estimate": attempt.cost_usd,
        "caller": claim.job.caller,
        "attempt_id": attempt.id,
    }


def record_usage(ledger: Ledger, claims: Sequence[Claim], *, also_send: bool) -> None:
    """Commit, synced, what these attempts used; a row that is there already stays as it is.

    With ``also_send`` each also goes into the outbox, for the sink that is not this database.
    """
    metered = [claim for claim in claims if claim.attempt.is_metered]
    if not metered:
        return
    with ledger.write() as connection:
        write_usage(ledger, connection, metered, also_send=also_send)


def write_usage(
    ledger: Ledger, connection: Connection, claims: Sequence[Claim], *, also_send: bool
) -> None:
    """As ``record_usage``, in an open transaction, of claims whose attempts are metered."""
    statement = insert_on(ledger, imagen_usage).values(created_at=now_plus())
    connection.execute(
        statement.on_conflict_do_nothing(index_elements=["attempt_id"]),
        [usage_of(claim) for claim in claims],
    )
    if also_send:
        put_in_outbox(ledger, connection, claims, sink=USAGE_SINK)


def read_usage(
    ledger: Ledger, *, since: datetime | None, until: datetime | None
) -> Iterator[UsageRow]:
    """The rows of a time span, oldest first; streamed, so that a million fit."""
    table = imagen_usage
    ordered = select(table).order_by(table.c.created_at, table.c.id)
    statement = ordered.where(*in_span(since, until))
    with ledger.stream() as connection:
        for row in connection.execute(statement):
            yield usage_row(row)


def usage_row(row: Row[Any]) -> UsageRow:
    """A row of the table, which may be older than us and hold nothing where we always write."""
    return UsageRow(
        created_at=row.created_at,
        backend=row.backend or "unknown",
        model=row.model,
        seed=row.seed,
        prompt_hash=row.prompt_hash or "",
        latency_ms=row.latency_ms,
        cost_usd=row.cost_usd_estimate,
        caller=row.caller or "unknown",
        attempt_id=row.attempt_id,
    )


# As in the statistics that migration 0003 makes: from those PostgreSQL knows how few groups there
# are, and need not sort a million rows. A week begins on Monday, as 2001 did.
_GROUPED_BY: dict[str, ColumnElement[Any]] = {
    "week": literal_column(
        "date_bin('7 days', created_at, timestamptz '2001-01-01 00:00:00+00')", UtcDateTime()
    ),
    "backend": imagen_usage.c.backend,
    "model": literal_column("coalesce(model, 'unknown')", Text()),
    "caller": imagen_usage.c.caller,
}


def sum_in_database(
    ledger: Ledger, *, by: Sequence[str], since: datetime | None, until: datetime | None
) -> list[UsageSum]:
    """The sums by group, and the total last (its key is empty), worked out by PostgreSQL.

    A million rows take it some 0.7 s, and nothing of them comes here.
    """
    span = and_(*in_span(since, until))
    with ledger.read() as connection:
        groups = connection.execute(_sums_of_groups(by, span)).all() if by else []
        total = connection.execute(_sums_of_all(span)).one()
    return [
        UsageSum(_key(row[: len(by)]), row.number, row.cost_usd, row.unpriced, row.median_ms)
        for row in groups
    ] + [UsageSum((), int(total.number), total.cost_usd, int(total.unpriced), total.median_ms)]


def _sums() -> tuple[ColumnElement[Any], ...]:
    cost_usd = imagen_usage.c.cost_usd_estimate
    return (
        func.count().label("number"),
        func.coalesce(func.sum(cost_usd), 0).label("cost_usd"),
        func.count().filter(cost_usd.is_(None)).label("unpriced"),
    )


def _sums_of_groups(by: Sequence[str], span: ColumnElement[bool]) -> Select[Any]:
    """A row a group. Its latencies are gathered and sorted by themselves: PostgreSQL's own way to
    a median sorts the whole table by all that is grouped by, which takes twice as long."""
    chosen = [_GROUPED_BY[name].label(name) for name in by]
    groups = (
        select(*chosen, *_sums(), func.array_agg(imagen_usage.c.latency_ms).label("latencies"))
        .where(span)
        .group_by(*chosen)
        .subquery()
    )
    latency = func.unnest(groups.c.latencies).column_valued("latency")
    median = select(func.percentile_disc(0.5).within_group(latency)).scalar_subquery()
    keys = [groups.c[name] for name in by]
    sums = (groups.c.number, groups.c.cost_usd, groups.c.unpriced)
    return select(*keys, *sums, median.label("median_ms")).order_by(*keys)


def _sums_of_all(span: ColumnElement[bool]) -> Select[Any]:
    """One row. How often each latency is there is soon counted, and that tells the median."""
    counts = (
        select(imagen_usage.c.latency_ms, *_sums())
        .where(span)
        .group_by(imagen_usage.c.latency_ms)
        .subquery()
    )
    timed = func.sum(counts.c.number).filter(counts.c.latency_ms.is_not(None))
    ranked = select(
        counts,
        timed.over(order_by=counts.c.latency_ms).label("upto"),
        timed.over().label("timed"),
    ).subquery()
    is_past_half = ranked.c.upto * 2 >= ranked.c.timed
    return select(
        *(
            func.coalesce(func.sum(ranked.c[name]), 0).label(name)
            for name in ("number", "cost_usd", "unpriced")
        ),
        func.min(ranked.c.latency_ms).filter(is_past_half).label("median_ms"),
    )


def _key(parts: Sequence[datetime | str | None]) -> tuple[str, ...]:
    return tuple(
        iso_week(part) if isinstance(part, datetime) else part or "unknown" for part in parts
    )


def iso_week(moment: datetime) -> str:
    """The ISO week of a UTC time, such as ``2026-W47``."""
    year, week, _ = moment.isocalendar()
    return f"{year}-W{week:02}"


def in_span(since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    """The conditions on ``imagen_usage`` that a row is of this time; ``until`` itself is not."""
    conditions: list[ColumnElement[bool]] = [true()]
    if since is not None:
        conditions.append(imagen_usage.c.created_at >= since)
    if until is not None:
        conditions.append(imagen_usage.c.created_at < until)
    return conditions
