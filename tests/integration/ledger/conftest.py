"""A ledger on each database that other processes may open too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.migrate import upgrade
from imagen.ledger.store.open_ledger import open_ledger


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = open_ledger(url, default_path=tmp_path / "state" / "ledger.db", pool_size=20)
    upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture
def address(ledger: Ledger) -> str:
    """What another process opens."""
    return ledger.engine.url.render_as_string(hide_password=False)
