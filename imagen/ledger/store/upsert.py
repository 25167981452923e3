"""INSERT … ON CONFLICT, which each database spells alike but SQLAlchemy keeps per dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite

from imagen.ledger.store.engine import Ledger

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql


def insert_on(ledger: Ledger, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT into ``table`` with ``on_conflict_…``, for the ledger's own database."""
    if ledger.kind == "sqlite":
        return sqlite.insert(table)
    # Slow to import: see imagen.ledger.store.types.
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415

    return postgresql.insert(table)
