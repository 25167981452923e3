"""Which schema a ledger has, and bringing it to the newest."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagen.errors import LedgerOutdated
from imagen.ledger.store.open_ledger import open_ledger
from imagen.services.report.ledger_schema import NEWEST_SCHEMA, schema_status, upgrade_schema


def test_looking_makes_no_file_and_upgrading_does(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = open_ledger("", default_path=path)

    missing, is_made = schema_status(ledger), path.exists()
    before, again = upgrade_schema(ledger), upgrade_schema(ledger)
    ledger.close()

    assert (missing.found, missing.is_newest, is_made) == (None, False, False)
    assert (before.is_newest, again.is_newest) == (False, True)
    assert again.to_json()["schema"] == NEWEST_SCHEMA


def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    ledger = open_ledger("", default_path=tmp_path / "ledger.db")
    upgrade_schema(ledger)
    with ledger.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(LedgerOutdated, match="schema 9999"):
        upgrade_schema(ledger)
    ledger.close()
