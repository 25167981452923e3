"""What a ledger stores for Supabase: that it timed out lately, and the table of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select

from imagen.ledger.store.clauses import insert_on
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.outgoing_tables import images
from imagen.ledger.store.tables import locks
from imagen.ledger.store.types import now_plus

_NAME = "supabase_silent"


def note_silence(ledger: Ledger, *, for_s: float) -> None:
    """Remember for ``for_s`` seconds that Supabase timed out, for all commands of this ledger."""
    until = now_plus(for_s)
    statement = insert_on(ledger, locks).values(name=_NAME, owner="", expires_at=until)
    with ledger.write(durable=False) as connection:
        connection.execute(
            statement.on_conflict_do_update(index_elements=["name"], set_={"expires_at": until})
        )


def was_silent(ledger: Ledger) -> bool:
    """Whether Supabase timed out lately."""
    statement = select(locks.c.name).where(locks.c.name == _NAME, locks.c.expires_at > now_plus())
    with ledger.read() as connection:
        return connection.execute(statement).first() is not None


def forget_silence(ledger: Ledger) -> None:
    """Supabase answers again."""
    with ledger.write(durable=False) as connection:
        connection.execute(delete(locks).where(locks.c.name == _NAME))


def put_image(ledger: Ledger, row: Mapping[str, Any]) -> None:
    """Commit the row of one image, synced; the same image again replaces it."""
    statement = insert_on(ledger, images).values(dict(row))
    changes = {name: value for name, value in row.items() if name != "id"}
    with ledger.write() as connection:
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changes))
