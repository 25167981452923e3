"""Finding a batch by the name that people know it by."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from imagen.errors import RequestError
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import batches


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
