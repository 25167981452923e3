"""The table of images that their owners may read, where the ledger is in the same database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.outgoing_tables import images
from imagen.ledger.store.upsert import insert_on


def put_image(ledger: Ledger, row: Mapping[str, Any]) -> None:
    """Commit the row of one image, synced; the same image again replaces it."""
    statement = insert_on(ledger, images).values(dict(row))
    changes = {name: value for name, value in row.items() if name != "id"}
    with ledger.write() as connection:
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changes))
