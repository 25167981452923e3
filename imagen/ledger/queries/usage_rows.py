"""The usage table: one row for each attempt that a backend drew, and never its prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    select,
    true,
)

from imagen.domain.job import Claim, record_of
from imagen.domain.prompt import hash_prompt
from imagen.domain.usage import UsageRow
from imagen.ledger.outbox.outbox import put_in_outbox
from imagen.ledger.store.clauses import insert_on
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.outgoing_tables import USAGE_SINK, imagen_usage
from imagen.ledger.store.types import now_plus


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
    """A row of the table. One that was there before imagen may lack values that imagen writes."""
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


def in_span(since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    """The conditions on ``imagen_usage`` that a row is of this time; ``until`` itself is not."""
    conditions: list[ColumnElement[bool]] = [true()]
    if since is not None:
        conditions.append(imagen_usage.c.created_at >= since)
    if until is not None:
        conditions.append(imagen_usage.c.created_at < until)
    return conditions
