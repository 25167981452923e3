"""What the records of many jobs say together: the warnings of a batch, each with its number."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, cast, null, or_, select

from imagen.domain.drawing_record import record_from_json, requested_from_json
from imagen.domain.scope import Scope
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.scope_clause import scope_clause
from imagen.ledger.store.tables import attempts, jobs
from imagen.ledger.store.types import now_plus


def count_warnings(
    ledger: Ledger, scope: Scope, *, finished_since: datetime | None = None
) -> Counter[str]:
    """How many jobs of the scope each sentence is about, told at submission or at the drawing.

    ``finished_since`` leaves out what was over before.
    """
    # Most jobs have none, so the database leaves those out; what it lets through is read properly.
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
