"""The ledger's schema as SQL, to be run in the SQL editor of a PostgreSQL server."""

from __future__ import annotations

import io
import re
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory

from imagen.ledger.store.tables import SCHEMA

_MIGRATIONS = Path(__file__).resolve().parents[3] / "migrations"
# Inside a block a result must be assigned; Alembic reads it, this script does not.
_RETURNING = re.compile(r" RETURNING [^;]*;")
_VERSION_TABLE = f"{SCHEMA}.alembic_version"


def render_sql() -> str:
    """Everything `imagen db upgrade` does to a PostgreSQL, as one transaction in SQL.

    It may be run on an empty database, on one of an earlier revision, and again at any time: it
    creates the tables, columns, rights and policies that are missing, and changes no others.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    revisions = list(reversed(list(script.walk_revisions())))
    blocks = [_block(config, revision) for revision in revisions]
    head = [
        f"-- The tables of imagen, revision {revisions[-1].revision}. May be run again.",
        "BEGIN;",
        # Otherwise there is a notice for each table that exists already.
        "SET LOCAL client_min_messages = warning;",
        f"CREATE SCHEMA IF NOT EXISTS {SCHEMA};",
    ]
    return "\n\n".join([*head, *blocks, "COMMIT;"]) + "\n"


def _block(config: Config, revision: Script) -> str:
    """One revision, which does nothing where the database has it already."""
    tag = f"$imagen_{revision.revision}$"
    is_repeatable = getattr(revision.module, "is_repeatable", False)
    condition = "true" if is_repeatable else f"revision IS {_before(revision)}"
    return "\n".join(
        [
            f"DO {tag}",
            "DECLARE",
            "    revision text;",
            "BEGIN",
            f"    IF to_regclass('{_VERSION_TABLE}') IS NOT NULL THEN",
            f"        SELECT version_num INTO revision FROM {_VERSION_TABLE};",  # noqa: S608
            "    END IF;",
            f"    IF {condition} THEN",
            _statements(config, revision),
            "    END IF;",
            f"END {tag};",
        ]
    )


def _before(revision: Script) -> str:
    """What `revision` is to be before this one is run."""
    before = revision.down_revision
    return f"NOT DISTINCT FROM '{before}'" if before else "NULL"


def _statements(config: Config, revision: Script) -> str:
    """The statements that Alembic would run for it, the one that records the revision included."""
    config.output_buffer = buffer = io.StringIO()
    command.upgrade(config, f"{revision.down_revision or 'base'}:{revision.revision}", sql=True)
    text = _RETURNING.sub(";", buffer.getvalue())
    # A downgrade to base leaves it behind, empty.
    made = f"CREATE TABLE {_VERSION_TABLE}"
    return text.replace(made, f"CREATE TABLE IF NOT EXISTS {_VERSION_TABLE}").strip()
