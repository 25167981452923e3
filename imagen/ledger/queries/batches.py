"""Batches: found by the name that people know them by, and the warnings of their jobs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, cast, null, or_, select

from imagen.domain.drawing_record import record_from_json, requested_from_json
from imagen.domain.scope import Scope
from imagen.errors import RequestError
from imagen.ledger.store.clauses import scope_clause
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import attempts, batches, jobs
from imagen.ledger.store.types import now_plus


@dataclass(frozen=True, slots=True)
class Batch:
    """``key`` is what makes two runs the same batch; several batches may share a name."""

    id: UUID
    key: str
    name: str
    runs: int


def find_batch(ledger: Ledger, name: str) -> Batch:
    """The one batch of that name, or key.

    Raises:
        RequestError: there is none, or several share the name; the hint lists their keys.
    """
    with ledger.read() as connection:
        rows = connection.execute(
            select(batches.c.id, batches.c.key, batches.c.name, batches.c.runs)
            .where((batches.c.name == name) | (batches.c.key == name))
            .order_by(batches.c.id.desc())
        ).all()
    found = [Batch(row.id, row.key, row.name, row.runs) for row in rows]
    exact = [batch for batch in found if batch.key == name]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise RequestError(f"no batch is called {name!r}", "see: imagen jobs ls --json")
    keys = "\n".join(f"--batch {batch.key!r}" for batch in found)
    raise RequestError(f"{len(found)} batches are called {name!r}", f"name one by its key:\n{keys}")


def batch_names(ledger: Ledger, *, limit: int = 50) -> list[str]:
    """The names of the newest batches, each once."""
    with ledger.read() as connection:
        names = connection.scalars(
            select(batches.c.name).order_by(batches.c.id.desc()).limit(limit)
        ).all()
    return list(dict.fromkeys(names))


def count_warnings(
    ledger: Ledger, scope: Scope, *, finished_since: datetime | None = None
) -> Counter[str]:
    """How many jobs of the scope each warning is about, at submission or at the drawing.

    ``finished_since`` leaves out the jobs that ended before.
    """
    # Most jobs have none and are left out by the database; the others are parsed.
    warned = or_(_mentions_warnings(jobs.c.requested), _mentions_warnings(attempts.c.record))
    statement = (
        select(jobs.c.requested, attempts.c.record)
        .select_from(jobs.outerjoin(attempts, attempts.c.id == jobs.c.attempt_id))
        .where(scope_clause(scope), warned)
    )
    if finished_since is not None:
        statement = statement.where(jobs.c.finished_at >= finished_since)
    found: Counter[str] = Counter()
    with ledger.stream() as connection:
        for row in connection.execute(statement):
            told = record_from_json(row.record) or requested_from_json(row.requested)
            found.update(told.warnings if told else ())
    return found


def ledger_time(ledger: Ledger) -> datetime:
    """Now, by the database's clock."""
    with ledger.read() as connection:
        now: datetime = connection.execute(select(now_plus())).scalar_one()
    return now


def _mentions_warnings(column: ColumnElement[Any]) -> ColumnElement[bool]:
    return and_(column.is_not(null()), cast(column, Text).contains('"warnings"'))
