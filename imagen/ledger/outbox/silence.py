"""Remembers, for all commands of a ledger, that Supabase did not answer in time.

The memory is a row of ``locks``, which expires by itself by the database's clock.
"""

from __future__ import annotations

from sqlalchemy import delete, select

from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import locks
from imagen.ledger.store.types import now_plus
from imagen.ledger.store.upsert import insert_on

_NAME = "supabase_silent"


def note_silence(ledger: Ledger, *, for_s: float) -> None:
    """Remember for ``for_s`` seconds from now that Supabase did not answer in time."""
    until = now_plus(for_s)
    statement = insert_on(ledger, locks).values(name=_NAME, owner="", expires_at=until)
    with ledger.write(durable=False) as connection:
        connection.execute(
            statement.on_conflict_do_update(index_elements=["name"], set_={"expires_at": until})
        )


def was_silent(ledger: Ledger) -> bool:
    """Whether a time-out is remembered."""
    statement = select(locks.c.name).where(locks.c.name == _NAME, locks.c.expires_at > now_plus())
    with ledger.read() as connection:
        return connection.execute(statement).first() is not None


def forget_silence(ledger: Ledger) -> None:
    """Supabase answers again."""
    with ledger.write(durable=False) as connection:
        connection.execute(delete(locks).where(locks.c.name == _NAME))
