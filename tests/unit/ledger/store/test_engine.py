"""Opening a ledger, and what is said when it cannot be used."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagen.errors import ConfigError, LedgerClosed, LedgerOutdated, LedgerUnavailable
from imagen.ledger.jobs.pauses import pause_backend
from imagen.ledger.queries.jobs import get_job
from imagen.ledger.store import open_ledger as opening
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.migrate import ensure_schema, upgrade
from imagen.ledger.store.open_ledger import open_ledger
from tests.servers.redis_and_postgres import PostgresServer


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Any:
    """A function that opens a SQLite ledger and closes it in the end."""

    def open_it(path: Path, url: str = "") -> Ledger:
        ledger = open_ledger(url, default_path=path)
        request.addfinalizer(ledger.close)
        return ledger

    return open_it


@pytest.fixture
def without_root_powers(tmp_path: Path) -> Iterator[Path]:
    """A folder of an ordinary user's, who is asking; root may write everywhere."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_mode & 0o077 == 0:
            folder.chmod(0o755)
    os.chown(tmp_path, 65534, 65534)
    os.seteuid(65534)
    try:
        yield tmp_path
    finally:
        os.seteuid(0)


def test_a_folder_for_the_ledger_is_made_for_its_user_only(opened: Any, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "ledger.db"

    upgrade(opened(path))

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")

    with pytest.raises(LedgerUnavailable, match=r"state.*IMAGEN_DATABASE_URL"):
        open_ledger("", default_path=tmp_path / "state" / "imagen" / "ledger.db")


def test_a_folder_where_the_file_should_be_is_named(opened: Any, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()

    with pytest.raises(LedgerUnavailable, match=r"ledger\.db cannot be used"):
        ensure_schema(opened(tmp_path / "ledger.db"))


def test_a_corrupt_file_is_named_and_left_alone(opened: Any, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this was a ledger once" * 100)

    with pytest.raises(LedgerUnavailable, match=r"ledger\.db.*not a database.*move the file away"):
        ensure_schema(opened(path))

    assert path.read_bytes() == b"this was a ledger once" * 100


def test_a_damaged_page_is_a_ledger_error(
    opened: Any, ledger_template: Path, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.db"
    content = bytearray(ledger_template.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)

    with pytest.raises(LedgerUnavailable, match="malformed"):
        pause_backend(opened(path), "mock", reason="x", pause_s=None)


def test_a_read_only_file_says_so(
    opened: Any, ledger_template: Path, without_root_powers: Path
) -> None:
    path = without_root_powers / "ledger.db"
    path.write_bytes(b"")
    os.seteuid(os.getuid())
    path.write_bytes(ledger_template.read_bytes())
    path.chmod(0o444)
    path.parent.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)
    ledger = opened(path)

    with pytest.raises(LedgerUnavailable, match=r"read-?only.*writable"):
        pause_backend(ledger, "mock", reason="x", pause_s=None)


def test_a_folder_that_cannot_be_written_says_so(opened: Any, without_root_powers: Path) -> None:
    without_root_powers.chmod(0o555)

    with pytest.raises(LedgerUnavailable, match="writable"):
        ensure_schema(opened(without_root_powers / "ledger.db"))


def test_a_ledger_that_somebody_holds_is_unavailable_and_then_works_again(
    opened: Any, ledger_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "ledger.db"
    path.write_bytes(ledger_template.read_bytes())
    ledger = opened(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(LedgerUnavailable, match="another process holds it"):
        pause_backend(ledger, "mock", reason="x", pause_s=None)

    holder.execute("ROLLBACK")
    holder.close()
    pause_backend(ledger, "mock", reason="x", pause_s=None)


def test_readers_do_not_wait_for_a_writer(opened: Any, sqlite_desk: Any) -> None:
    job_id = sqlite_desk.submit()

    with sqlite_desk.ledger.write() as connection:
        connection.exec_driver_sql("DELETE FROM jobs")
        assert get_job(opened(sqlite_desk.ledger.path), job_id) is not None


def test_an_error_inside_a_write_undoes_all_of_it(desk: Any) -> None:
    job_id = desk.submit()
    table = "jobs" if desk.ledger.path else "imagen.jobs"

    def be_interrupted() -> None:
        with desk.ledger.write() as connection:
            connection.exec_driver_sql(f"DELETE FROM {table}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()

    assert get_job(desk.ledger, job_id) is not None


def test_a_wrong_statement_is_a_bug_and_not_an_absent_database(desk: Any) -> None:
    from sqlalchemy.exc import DBAPIError

    def blunder() -> None:
        with desk.ledger.write() as connection:
            connection.exec_driver_sql("SELECT )")

    with pytest.raises(DBAPIError):
        blunder()


def test_threads_write_one_after_the_other_and_all_of_it_arrives(desk: Any) -> None:
    threads = [
        threading.Thread(target=lambda: [desk.submit() for _ in range(20)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(desk.snapshot()["jobs"]) == 160


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://localhost/x", "mysql"),
        ("not a url", "not a database address"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
def test_a_database_that_cannot_be_a_ledger_is_refused(url: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        open_ledger(url, default_path=tmp_path / "ledger.db")


def test_a_bad_address_is_refused_without_repeating_its_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        open_ledger("postgresql//me:test-password@host/x", default_path=tmp_path / "x")

    assert "test-password" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_password_is_in_no_message(scheme: str, tmp_path: Path) -> None:
    ledger = open_ledger(f"{scheme}://me:test-password@127.0.0.1:1/x", default_path=tmp_path / "x")

    with pytest.raises(LedgerUnavailable) as caught:
        ensure_schema(ledger)

    ledger.close()
    assert "test-password" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)
    assert caught.value.hint


def test_sqlite_without_tables_is_outdated_not_broken(opened: Any, tmp_path: Path) -> None:
    ledger = opened(tmp_path / "ledger.db")

    with pytest.raises(LedgerOutdated, match="imagen db upgrade"):
        pause_backend(ledger, "mock", reason="x", pause_s=None)


def test_a_sqlite_ledger_may_be_named_by_url(opened: Any, tmp_path: Path) -> None:
    ledger = opened(tmp_path / "unused.db", f"sqlite:///{tmp_path}/named.db")
    ensure_schema(ledger)

    assert (tmp_path / "named.db").exists()
    assert ledger.address == str(tmp_path / "named.db")


def test_a_database_that_went_away_is_unavailable_and_back_when_it_is_back(
    own_postgres: PostgresServer, opened: Any, tmp_path: Path
) -> None:
    ledger = opened(tmp_path / "unused", own_postgres.create_database())
    upgrade(ledger)
    pause_backend(ledger, "mock", reason="before", pause_s=None)
    own_postgres.stop()

    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match="unreachable"):
            pause_backend(ledger, "mock", reason="meanwhile", pause_s=None)

    own_postgres.start()
    pause_backend(ledger, "mock", reason="after", pause_s=None)


def test_a_write_cut_off_by_the_database_is_a_ledger_error_and_the_next_one_works(
    own_postgres: PostgresServer, opened: Any, tmp_path: Path
) -> None:
    ledger = opened(tmp_path / "unused", own_postgres.create_database())
    upgrade(ledger)

    def be_cut_off() -> None:
        with ledger.write() as connection:
            connection.exec_driver_sql("DELETE FROM imagen.jobs")
            own_postgres.stop()
            connection.exec_driver_sql("DELETE FROM imagen.jobs")

    with pytest.raises(LedgerUnavailable):
        be_cut_off()

    own_postgres.start()
    pause_backend(ledger, "mock", reason="after", pause_s=None)


def test_a_closed_ledger_opens_no_connection_again(ledger: Any, tmp_path: Path) -> None:
    again = open_ledger(
        "" if ledger.path else ledger.engine.url.render_as_string(hide_password=False),
        default_path=tmp_path / "again.db",
    )
    again.close()

    for use in (again.read, again.stream, again.write, again.write_one):
        with pytest.raises(LedgerClosed, match="was closed"), use():
            pass


def test_a_sqlite_ledger_is_its_users_own_wherever_it_lies(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db", default_path=Path("unused"))
    upgrade(ledger)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    ledger.close()

    assert set(modes) >= {"ledger.db", "ledger.db-wal"}
    assert set(modes.values()) == {0o600}


def test_the_rights_that_a_sqlite_ledger_was_given_stay(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    for _ in range(2):
        ledger = open_ledger(f"sqlite:///{path}", default_path=Path("unused"))
        upgrade(ledger)
        ledger.close()
        assert path.stat().st_mode & 0o777 in (0o600, 0o660)
        path.chmod(0o660)

    assert path.stat().st_mode & 0o777 == 0o660


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@127.0.0.1:1/name?password=s3cret",
        "postgresql://me:s3cret@127.0.0.1:1/name?sslpassword=s3cret",
        "postgresql://127.0.0.1:1/name?user=me&password=s3cret",
    ],
)
def test_no_password_of_an_address_is_shown(url: str) -> None:
    ledger = open_ledger(url, default_path=Path("unused"))
    with pytest.raises(LedgerUnavailable) as away, ledger.read():
        pass

    told = "".join(traceback.format_exception(away.value))
    assert "s3cret" not in f"{ledger.address} {ledger} {away.value} {told}"
    ledger.close()


@pytest.mark.parametrize("url", ["postgresql://me:s3cret@host:port/x", "postgresql://me:s3/c@h:1x"])
def test_an_address_that_cannot_be_read_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        open_ledger(url, default_path=Path("unused"))

    assert "s3" not in "".join(traceback.format_exception(refused.value)).replace(__file__, "")
