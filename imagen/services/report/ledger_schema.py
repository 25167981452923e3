"""The ledger's schema: which one it has, and bringing it to the newest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imagen.errors import LedgerOutdated
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.migrate import HEAD_REVISION, current_revision, known_revisions, upgrade
from imagen.ledger.store.schema_sql import render_sql

#: The revision that this imagen needs.
NEWEST_SCHEMA = HEAD_REVISION


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """``found`` is the revision that the ledger has, None where it has no tables yet."""

    address: str
    found: str | None
    newest: str = NEWEST_SCHEMA

    @property
    def is_newest(self) -> bool:
        return self.found == self.newest

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        return {"ledger": self.address, "schema": self.found, "newest": self.newest}


def schema_status(ledger: Ledger) -> SchemaStatus:
    """Which schema the ledger has. Makes no SQLite file where there is none.

    Raises:
        LedgerUnavailable: the ledger cannot be read.
    """
    is_there = ledger.path is None or ledger.path.exists()
    return SchemaStatus(ledger.address, current_revision(ledger) if is_there else None)


def upgrade_schema(ledger: Ledger) -> SchemaStatus:
    """Bring the ledger to the newest schema; says which one it had before. Repeating it is safe.

    Raises:
        LedgerOutdated: its schema is newer than this imagen.
        LedgerUnavailable: the ledger cannot be read or changed.
    """
    before = SchemaStatus(ledger.address, current_revision(ledger))
    if before.is_newest:
        return before
    if before.found is not None and before.found not in known_revisions():
        raise LedgerOutdated(
            f"the ledger at {ledger.address} has schema {before.found}, which this imagen does"
            " not know",
            "upgrade imagen",
        )
    upgrade(ledger)
    return before


def schema_as_sql() -> str:
    """The whole schema as SQL for PostgreSQL, which may be run again at any time."""
    return render_sql().rstrip("\n")
