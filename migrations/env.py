"""Alembic's entry: runs the migrations on the connection that imagen hands over."""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import Connection, MetaData
from sqlalchemy.sql.schema import BLANK_SCHEMA

from imagen.ledger.store.indexes import whole_metadata
from imagen.ledger.store.tables import SCHEMA, USAGE_SCHEMA

OUR_SCHEMAS = {SCHEMA, USAGE_SCHEMA}


def _flat(source: MetaData) -> MetaData:
    """The tables without their schemas, as SQLite has them: what autogenerate compares with."""
    flat = MetaData(naming_convention=source.naming_convention)
    for table in source.sorted_tables:
        table.to_metadata(flat, schema=None, referred_schema_fn=lambda *_: BLANK_SCHEMA)
    return flat


def _is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    return name in OUR_SCHEMAS if kind == "schema" else True


def run_migrations(connection: Connection) -> None:
    """Run what the calling command asks for, inside the caller's transaction."""
    on_sqlite = connection.dialect.name == "sqlite"
    if not on_sqlite:
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    context.configure(
        connection=connection,
        target_metadata=_flat(whole_metadata) if on_sqlite else whole_metadata,
        include_schemas=not on_sqlite,
        include_name=None if on_sqlite else _is_ours,
        version_table_schema=None if on_sqlite else SCHEMA,
        render_as_batch=on_sqlite,
        transaction_per_migration=False,
        # Read by the migrations: ALTER and raw SQL are not translated, so each names its schema.
        imagen_schema=None if on_sqlite else SCHEMA,
    )
    context.run_migrations()


def write_migrations() -> None:
    """Write what the calling command asks for as SQL for PostgreSQL; no database is needed."""
    context.configure(
        dialect_name="postgresql",
        literal_binds=True,
        version_table_schema=SCHEMA,
        transaction_per_migration=False,
        imagen_schema=SCHEMA,
    )
    context.run_migrations()


if context.is_offline_mode():
    write_migrations()
else:
    run_migrations(context.config.attributes["connection"])
