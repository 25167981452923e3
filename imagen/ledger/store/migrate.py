"""The ledger's schema: which revision it has, and how it gets the newest."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import Connection, inspect, select, text

from imagen.errors import LedgerOutdated, LedgerUnavailable
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import SCHEMA, meta

if TYPE_CHECKING:
    from alembic.config import Config

#: The newest revision; a test holds that it is the head of migrations/versions. Stated here so that
#: no command imports Alembic (0.4 s) just to see that there is nothing to do.
HEAD_REVISION = "0011"

_MIGRATIONS = Path(__file__).resolve().parents[3] / "migrations"


def current_revision(ledger: Ledger) -> str | None:
    """The revision that the database says it has, or None when it is empty."""
    schema = None if ledger.kind == "sqlite" else SCHEMA
    with ledger.read() as connection:
        if not inspect(connection).has_table("alembic_version", schema=schema):
            return None
        table = "alembic_version" if schema is None else f"{schema}.alembic_version"
        row = connection.execute(text(f"SELECT version_num FROM {table}")).first()  # noqa: S608
    return row[0] if row else None


def ensure_schema(ledger: Ledger) -> None:
    """Make sure that the tables are the ones this program knows.

    A SQLite ledger is created and upgraded here; a PostgreSQL database is upgraded only by
    `imagen db upgrade`.

    Raises:
        LedgerOutdated: behind (PostgreSQL), or newer than this program.
        LedgerUnavailable: it cannot be read, or the SQLite file cannot be made.
    """
    found = current_revision(ledger)
    if found == HEAD_REVISION:
        return
    if found is not None and found not in known_revisions():
        raise LedgerOutdated(
            f"the ledger at {ledger.address} has schema {found}, newer than this imagen knows "
            f"({HEAD_REVISION})",
            "upgrade imagen",
        )
    if ledger.kind != "sqlite":
        state = f"has schema {found}" if found else "has no tables yet"
        raise LedgerOutdated(
            f"the ledger at {ledger.address} {state}; this imagen needs {HEAD_REVISION}",
            "run: imagen db upgrade",
        )
    upgrade(ledger)


def upgrade(ledger: Ledger, revision: str = "head") -> None:
    """Bring the schema to ``revision``. Several processes may call it at once.

    Raises:
        LedgerUnavailable: the database cannot be reached or changed.
    """
    from alembic import command  # noqa: PLC0415  (0.4 s; nearly always there is nothing to do)

    with _one_at_a_time(ledger), ledger.write() as connection:
        if ledger.kind == "postgresql":
            # Released with the transaction, so it works through a transaction pooler too.
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('imagen.migrations'))"))
        command.upgrade(_alembic_config(connection), revision)


def downgrade(ledger: Ledger, revision: str) -> None:
    """Take the schema back to ``revision``; ``base`` removes every table of imagen."""
    from alembic import command  # noqa: PLC0415

    with _one_at_a_time(ledger), ledger.write() as connection:
        command.downgrade(_alembic_config(connection), revision)


def known_revisions() -> list[str]:
    """Every revision this program brings, oldest first."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    script = ScriptDirectory(str(_MIGRATIONS))
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


def ledger_id(ledger: Ledger) -> UUID:
    """Which ledger this is: messages carry it, so that no worker draws another ledger's jobs.

    Raises:
        LedgerOutdated: the database has no tables.
    """
    with ledger.read() as connection:
        value = connection.scalar(select(meta.c.value).where(meta.c.key == "ledger_id"))
    if value is None:
        raise LedgerUnavailable(f"the ledger at {ledger.address} has no id", "restore a backup")
    return UUID(value)


@contextmanager
def _one_at_a_time(ledger: Ledger) -> Iterator[None]:
    """On SQLite a lock file beside the database; PostgreSQL has its own lock."""
    if ledger.path is None:
        yield
        return
    lock_path = ledger.path.with_name(ledger.path.name + ".migrating")
    try:
        handle = os.open(lock_path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise LedgerUnavailable(
            f"cannot write beside the ledger at {ledger.address}: {error.strerror}",
            "make its folder writable",
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _alembic_config(connection: Connection) -> Config:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
