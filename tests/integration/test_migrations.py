"""The migrations make what the program expects, on both databases, forwards and backwards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import inspect, text

from imagen.errors import LedgerOutdated
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.migrate import (
    HEAD_REVISION,
    _alembic_config,
    current_revision,
    downgrade,
    ensure_schema,
    known_revisions,
    ledger_id,
    upgrade,
)
from imagen.ledger.store.open_ledger import open_ledger

OPEN_AT_ONCE = """
import sys
from pathlib import Path
from imagen.ledger.store.open_ledger import open_ledger
from imagen.ledger.store.migrate import ensure_schema, ledger_id
sys.stdin.readline()
ledger = open_ledger(sys.argv[1], default_path=Path(sys.argv[2]))
{do}
print(ledger_id(ledger))
ledger.close()
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger without tables, on each database."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    ledger = open_ledger(url, default_path=tmp_path / "state" / "ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def sqlite_empty(tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger("", default_path=tmp_path / "state" / "ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def postgres_empty(postgres_url: str) -> Iterator[Ledger]:
    ledger = open_ledger(postgres_url, default_path=Path("unused"))
    yield ledger
    ledger.close()


def tables_of(ledger: Ledger) -> set[str]:
    schemas = [None] if ledger.kind == "sqlite" else ["imagen", "mai"]
    with ledger.read() as connection:
        return {
            name
            for schema in schemas
            for name in inspect(connection).get_table_names(schema=schema)
            if name != "alembic_version"
        }


def set_revision(ledger: Ledger, revision: str) -> None:
    table = "alembic_version" if ledger.kind == "sqlite" else "imagen.alembic_version"
    with ledger.write() as connection:
        connection.execute(text(f"UPDATE {table} SET version_num = :it"), {"it": revision})


def shape_of(ledger: Ledger) -> Any:
    """Every column, index and constraint, as the database tells."""
    found: dict[str, Any] = {}
    schema = None if ledger.kind == "sqlite" else "imagen"
    with ledger.read() as connection:
        looker = inspect(connection)
        for name in sorted(looker.get_table_names(schema=schema)):
            found[name] = [
                sorted(
                    (column["name"], str(column["type"]), column["nullable"])
                    for column in looker.get_columns(name, schema=schema)
                ),
                sorted(
                    (str(index["name"]), index["column_names"], index["unique"])
                    for index in looker.get_indexes(name, schema=schema)
                ),
                sorted(str(key) for key in looker.get_foreign_keys(name, schema=schema)),
            ]
    return found


def test_the_newest_revision_is_the_one_the_program_asks_for() -> None:
    assert known_revisions()[-1] == HEAD_REVISION


def test_there_is_one_line_of_revisions() -> None:
    from alembic.script import ScriptDirectory

    import migrations

    script = ScriptDirectory(str(Path(migrations.__file__).parent))

    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


def test_migrations_and_tables_agree(empty: Ledger) -> None:
    upgrade(empty)

    with empty.write() as connection:
        # Raises with the list of differences.
        command.check(_alembic_config(connection))


def test_every_revision_can_be_taken_back_and_made_again(empty: Ledger) -> None:
    upgrade(empty)
    before = shape_of(empty)

    for revision in reversed(["base", *known_revisions()[:-1]]):
        downgrade(empty, revision)
    if empty.kind == "sqlite":
        assert tables_of(empty) == set()
    assert "jobs" not in tables_of(empty)

    for revision in known_revisions():
        upgrade(empty, revision)
    assert shape_of(empty) == before
    assert current_revision(empty) == HEAD_REVISION


def test_upgrading_twice_changes_nothing(empty: Ledger) -> None:
    upgrade(empty)
    first = ledger_id(empty)

    upgrade(empty)

    assert ledger_id(empty) == first


def test_two_ledgers_are_never_the_same(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    ids = set()
    for name in ("one", "two"):
        ledger = open_ledger("", default_path=tmp_path / name / "ledger.db")
        request.addfinalizer(ledger.close)
        upgrade(ledger)
        ids.add(ledger_id(ledger))

    assert len(ids) == 2


def test_a_sqlite_ledger_makes_its_tables_by_itself(sqlite_empty: Ledger) -> None:
    assert current_revision(sqlite_empty) is None

    ensure_schema(sqlite_empty)

    assert current_revision(sqlite_empty) == HEAD_REVISION


def test_a_postgresql_ledger_says_what_to_run(postgres_empty: Ledger) -> None:
    with pytest.raises(LedgerOutdated, match=r"has no tables yet.*run: imagen db upgrade"):
        ensure_schema(postgres_empty)

    assert tables_of(postgres_empty) == set()
    upgrade(postgres_empty)
    ensure_schema(postgres_empty)


def test_a_postgresql_ledger_that_is_behind_says_what_to_run(postgres_empty: Ledger) -> None:
    upgrade(postgres_empty, known_revisions()[0])

    with pytest.raises(LedgerOutdated, match=r"has schema 0001.*run: imagen db upgrade"):
        ensure_schema(postgres_empty)


def test_a_sqlite_ledger_that_is_behind_is_brought_up_to_date(sqlite_empty: Ledger) -> None:
    upgrade(sqlite_empty, known_revisions()[0])

    ensure_schema(sqlite_empty)

    assert current_revision(sqlite_empty) == HEAD_REVISION


def test_a_ledger_newer_than_the_program_is_left_alone(empty: Ledger) -> None:
    upgrade(empty)
    set_revision(empty, "9999")

    with pytest.raises(LedgerOutdated, match=r"schema 9999, newer.*upgrade imagen"):
        ensure_schema(empty)

    assert current_revision(empty) == "9999"


def open_in_processes(number: int, url: str, path: Path, *, do: str) -> list[str]:
    """What as many processes print that open the same database at the same moment."""
    code = OPEN_AT_ONCE.format(do=do)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, url, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(number)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * number, answers
    return [out for out, _ in answers]


def test_a_sqlite_ledger_made_by_several_processes_at_once_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "state" / "ledger.db"

    ids = open_in_processes(3, "", path, do="ensure_schema(ledger)")

    assert len(set(ids)) == 1


def test_a_postgresql_ledger_upgraded_by_several_processes_at_once_is_upgraded_once(
    postgres_url: str, tmp_path: Path
) -> None:
    do = "from imagen.ledger.store.migrate import upgrade; upgrade(ledger)"

    ids = open_in_processes(3, postgres_url, tmp_path / "unused", do=do)

    assert len(set(ids)) == 1


def test_an_upgrade_that_fails_leaves_the_ledger_as_it_was(
    empty: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., None] = command.upgrade

    def fail_at_the_end(*args: Any, **options: Any) -> None:
        real(*args, **options)
        raise RuntimeError("the power went")

    monkeypatch.setattr(command, "upgrade", fail_at_the_end)
    with pytest.raises(RuntimeError):
        upgrade(empty)
    monkeypatch.undo()

    assert tables_of(empty) == set()
    upgrade(empty)
    assert current_revision(empty) == HEAD_REVISION
