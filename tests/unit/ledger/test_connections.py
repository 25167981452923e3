"""How many connections a process holds, and what it does when the database gives no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text

from imagen.errors import LedgerUnavailable
from imagen.ledger.store.open_ledger import open_ledger


def connections(url: str) -> int:
    """How many this program has to the database of that address, at most within some looks."""
    with psycopg.connect(url, autocommit=True) as own:
        query = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return max(own.execute(query).fetchone()[0] for _ in range(20))  # type: ignore[index]


def test_a_process_holds_two_connections_when_busy_and_one_when_idle(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = open_ledger(postgres_url, default_path=tmp_path / "unused")
    together = threading.Barrier(9)

    def ask() -> None:
        together.wait(60)
        for _ in range(50):
            with ledger.read() as connection:
                connection.execute(text("SELECT pg_sleep(0.002)"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    together.wait(60)

    assert connections(postgres_url) == 2

    for thread in threads:
        thread.join()
    ledger.close_idle()
    assert connections(postgres_url) == 2, "they were used just now"
    monkeypatch.setattr("imagen.ledger.store.engine._IDLE_S", 0.0)
    ledger.close_idle()
    ledger.close_idle()
    deadline_s = time.monotonic() + 60
    while connections(postgres_url) != 1:
        assert time.monotonic() < deadline_s
    ledger.close()


@pytest.fixture
def full_database(postgres_url: str) -> Iterator[tuple[str, psycopg.Connection[Any]]]:
    """The address of a login that may have one connection, and that connection."""
    login = f"one_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {login} LOGIN CONNECTION LIMIT 1")  # type: ignore[arg-type]
        url = postgres_url.replace("://postgres@", f"://{login}@")
        with psycopg.connect(url) as only:
            yield url, only
        owner.execute(f"DROP ROLE {login}")  # type: ignore[arg-type]


def test_a_database_without_a_free_connection_is_asked_again_until_one_is_free(
    full_database: tuple[str, psycopg.Connection[Any]], tmp_path: Path
) -> None:
    url, only = full_database
    ledger = open_ledger(url, default_path=tmp_path / "unused")
    timer = threading.Timer(0.5, only.close)
    timer.start()

    with ledger.read() as connection:
        assert connection.scalar(text("SELECT 1")) == 1

    timer.join()
    ledger.close()


def test_a_database_that_stays_full_is_unavailable(
    full_database: tuple[str, psycopg.Connection[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imagen.ledger.store.open_ledger.FULL_PATIENCE_S", 0.1)
    url, _ = full_database
    ledger = open_ledger(url, default_path=tmp_path / "unused")

    with pytest.raises(LedgerUnavailable, match="too many connections"), ledger.read():
        pass

    ledger.close()
