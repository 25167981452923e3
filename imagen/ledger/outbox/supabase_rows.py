"""What a ledger stores for Supabase: that it timed out lately, and the table of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagen.ledger.jobs.named_locks import is_locked, release_lock, take_lock
from imagen.ledger.store.clauses import insert_on
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.outgoing_tables import images

#: A lock without an owner, which each time-out renews.
_SILENT = "supabase_silent"


def note_silence(ledger: Ledger, *, for_s: float) -> None:
    """Remember for ``for_s`` seconds that Supabase timed out, for all commands of this ledger."""
    take_lock(ledger, _SILENT, "", lease_s=for_s)


def was_silent(ledger: Ledger) -> bool:
    """Whether Supabase timed out lately."""
    return is_locked(ledger, _SILENT)


def forget_silence(ledger: Ledger) -> None:
    """Supabase answers again."""
    release_lock(ledger, _SILENT, "")


def put_image(ledger: Ledger, row: Mapping[str, Any]) -> None:
    """Commit the row of one image, synced; the same image again replaces it."""
    statement = insert_on(ledger, images).values(dict(row))
    changes = {name: value for name, value in row.items() if name != "id"}
    with ledger.write() as connection:
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changes))
