"""INSERT … ON CONFLICT, which each database spells alike but SQLAlchemy keeps per dialect."""

from __future__ import annotations

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

from imagen.ledger.engine import Ledger


def insert_on(ledger: Ledger, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT into ``table`` with ``on_conflict_…``, for the ledger's own database."""
    return sqlite.insert(table) if ledger.kind == "sqlite" else postgresql.insert(table)
