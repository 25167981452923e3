"""Named locks: rows that one process at a time holds, and that expire by the database's clock."""

from __future__ import annotations

from sqlalchemy import delete, select

from imagen.ledger.store.clauses import insert_on
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import locks
from imagen.ledger.store.types import now_plus


def take_lock(ledger: Ledger, name: str, owner: str, *, lease_s: float) -> bool:
    """Take or renew a named lock that expires by itself; False when another process has it.

    A row, not a session lock: a hung leader would hold that for ever, and a transaction pooler
    knows no sessions.
    """
    with ledger.write(durable=False) as connection:
        statement = insert_on(ledger, locks).values(
            name=name, owner=owner, expires_at=now_plus(lease_s)
        )
        # RETURNING, because psycopg's count of an INSERT is not handed on by SQLAlchemy.
        taken = connection.execute(
            statement.on_conflict_do_update(
                index_elements=["name"],
                set_={"owner": owner, "expires_at": now_plus(lease_s)},
                where=(locks.c.owner == owner) | (locks.c.expires_at < now_plus()),
            ).returning(locks.c.name)
        ).first()
    return taken is not None


def lock_owner(ledger: Ledger, name: str) -> str | None:
    """The owner of a named lock, expired or not; None when it was released."""
    with ledger.read() as connection:
        return connection.scalar(select(locks.c.owner).where(locks.c.name == name))


def is_locked(ledger: Ledger, name: str) -> bool:
    """Whether a named lock is taken and has not expired."""
    statement = select(locks.c.name).where(locks.c.name == name, locks.c.expires_at > now_plus())
    with ledger.read() as connection:
        return connection.execute(statement).first() is not None


def release_lock(ledger: Ledger, name: str, owner: str) -> None:
    """Release a lock; does nothing when another process has it by now."""
    with ledger.write(durable=False) as connection:
        connection.execute(delete(locks).where(locks.c.name == name, locks.c.owner == owner))
