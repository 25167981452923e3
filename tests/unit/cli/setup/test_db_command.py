"""``imagen db`` and ``imagen version``."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from imagen.ledger.store.migrate import HEAD_REVISION


def _set_revision(ledger: Path, revision: str) -> None:
    connection = sqlite3.connect(ledger)
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()


def test_current_tells_the_schema(imagen):
    assert imagen("db", "current").out == f"{HEAD_REVISION}\n"


def test_current_makes_no_ledger(imagen, made_ledger):
    made_ledger.unlink()
    done = imagen("db", "current", "--json")

    assert done.json["schema"] is None
    assert not made_ledger.exists()


def test_upgrade_makes_the_ledger_and_may_be_repeated(imagen, made_ledger):
    made_ledger.unlink()

    assert imagen("db", "upgrade").out == f"{HEAD_REVISION}\n"
    assert "nothing to do" in imagen("db", "upgrade").err


def test_a_ledger_newer_than_the_program_is_left_alone(imagen, made_ledger, draw):
    _set_revision(made_ledger, "9999")

    assert imagen("db", "upgrade").code == 3
    done = draw("a fox")
    assert done.code == 3
    assert "9999" in done.err
    assert imagen("db", "current").out == "9999\n"


def test_postgresql_is_upgraded_only_on_request(imagen, draw, postgres_url):
    env = {"IMAGEN_DATABASE_URL": postgres_url}
    refused = draw("a fox", env=env)

    assert refused.code == 3
    assert "imagen db upgrade" in refused.err
    assert imagen("db", "upgrade", env=env).code == 0
    assert draw("a fox", env=env).code == 0


def test_sql_needs_no_ledger_and_no_configuration(imagen, made_ledger, configure):
    configure("nonsense: [")
    made_ledger.unlink()
    done = imagen("db", "sql")

    assert done.code == 0
    assert done.out.startswith(f"-- The tables of imagen, revision {HEAD_REVISION}.")
    assert done.out.rstrip().endswith("COMMIT;")
    assert not made_ledger.exists()


def test_version_tells_what_a_bug_report_needs(imagen):
    assert set(imagen("version", "--json").json) >= {"imagen", "python", "ledger_schema"}
    assert imagen("version").out.startswith("imagen ")
