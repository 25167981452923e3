"""A real Redis and a real PostgreSQL, which tests start and remove by themselves."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis
from psycopg import sql

from tests.servers.binaries import find_postgres, find_redis, postgres_for, unprivileged_user
from tests.servers.server_process import (
    LOOPBACK,
    ServerFailed,
    ServerProcess,
    plain_environment,
)

_REDIS_DATABASES = 1024


@dataclass(frozen=True)
class RedisAddress:
    """A running Redis, as its users see it: what many tests may share."""

    port: int

    @property
    def url(self) -> str:
        """Database 0. On a shared server take ``fresh_url`` instead."""
        return self.url_of(0)

    def url_of(self, number: int) -> str:
        """The URL of the database with this number, below 1,024."""
        return f"redis://{LOOPBACK}:{self.port}/{number}"

    def fresh_url(self) -> str:
        """The URL of an empty database that no other test uses.

        Only keys are apart: channels and FLUSHALL know no databases, so a test that publishes
        under a fixed name, or flushes, or kills, starts a Redis of its own.
        """
        with redis.Redis.from_url(self.url) as client:
            turn = client.incr("imagen-testing:databases-handed-out")
        number = 1 + turn % (_REDIS_DATABASES - 1)
        with redis.Redis.from_url(self.url_of(number)) as client:
            client.flushdb()
        return self.url_of(number)


@dataclass(frozen=True)
class PostgresAddress:
    """A running PostgreSQL, as its users see it: what many tests may share."""

    port: int

    @property
    def url(self) -> str:
        """The database ``postgres``. On a shared server take ``create_database`` instead."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """The URL of a database, as the superuser ``postgres``, without a password."""
        return f"postgresql://postgres@{LOOPBACK}:{self.port}/{database}"

    def create_database(self, *, template: str = "") -> str:
        """The URL of a new database: empty, or a copy of the one with the URL ``template``.

        Takes some 50 ms either way. The template may have no connection meanwhile.
        """
        name = f"test_{uuid.uuid4().hex}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(_database_of(template) or "template1")
        )
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        """Remove what ``create_database`` made; open connections to it are closed."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
            sql.Identifier(_database_of(url))
        )
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


class RedisServer(ServerProcess):
    """A Redis of one's own, with an append-only file synced each second.

    >>> with RedisServer() as server:
    ...     use(server.url)
    """

    name = "redis"
    stop_signal = signal.SIGTERM

    @property
    def address(self) -> RedisAddress:
        """Where it listens, without the right to stop it."""
        return RedisAddress(self.port)

    @property
    def url(self) -> str:
        """Database 0."""
        return self.address.url

    def _command(self) -> list[str]:
        options = {
            "--port": str(self.port),
            "--bind": LOOPBACK,
            "--dir": str(self.folder),
            "--databases": str(_REDIS_DATABASES),
            "--save": "",
            "--appendonly": "yes",
            "--appendfsync": "everysec",
        }
        return [str(find_redis()), *(word for option in options.items() for word in option)]

    def _is_ready(self, pid: int) -> bool:
        try:
            with redis.Redis(host=LOOPBACK, port=self.port, socket_timeout=5) as client:
                answer = client.info()
        except redis.ConnectionError:
            return False
        return bool(answer["process_id"] == pid and not answer["loading"])


class PostgresServer(ServerProcess):
    """A PostgreSQL of one's own, its superuser ``postgres`` without a password.

    Commits do not wait for the disk unless ``fsync`` is asked for: they survive ``kill`` either
    way, because the kernel goes on; only a power cut would tell the difference.

    >>> with PostgresServer() as server:
    ...     use(server.create_database())
    """

    name = "postgres"
    #: The folder of initdb and postgres, known from the first start on.
    programs: Path
    #: "fast": rolls open transactions back and waits for no connection.
    stop_signal = signal.SIGINT

    def __init__(self, *, fsync: bool = False) -> None:
        self.fsync = fsync
        self._user = unprivileged_user()
        super().__init__()
        self._data = self.folder / "data"

    @property
    def user(self) -> pwd.struct_passwd | None:
        """``nobody`` when we are root, whom PostgreSQL refuses."""
        return self._user

    @property
    def address(self) -> PostgresAddress:
        """Where it listens, without the right to stop it."""
        return PostgresAddress(self.port)

    @property
    def url(self) -> str:
        """The database ``postgres``."""
        return self.address.url

    def create_database(self, *, template: str = "") -> str:
        """The URL of a new database: see ``PostgresAddress.create_database``."""
        return self.address.create_database(template=template)

    def start(self) -> None:
        """Make the cluster the first time (some 0.5 s), start it and wait until it answers.

        Raises:
            BinaryMissing: there is no PostgreSQL here.
            ServerFailed: it does not come up within a minute.
        """
        if not self._data.exists():
            self.programs = postgres_for(self._user, find_postgres(), copies=self.folder)
            self._make_cluster()
        super().start()

    def _make_cluster(self) -> None:
        self._data.mkdir(mode=0o700)
        if self._user:
            os.chown(self._data, self._user.pw_uid, self._user.pw_gid)
        locale = "C.UTF-8" if sys.platform == "linux" else "C"
        command = [
            str(self.programs / "initdb"),
            *("-D", str(self._data), "-U", "postgres", "--auth=trust", "--no-sync"),
            *("--encoding=UTF8", f"--locale={locale}"),
        ]
        made = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env=plain_environment(),
            user=self._user.pw_uid if self._user else None,
            group=self._user.pw_gid if self._user else None,
            extra_groups=[] if self._user else None,
        )
        if made.returncode:
            raise ServerFailed(f"{command[0]} failed: {made.stderr or made.stdout}")

    def _command(self) -> list[str]:
        durable = "on" if self.fsync else "off"
        settings = {
            "listen_addresses": LOOPBACK,
            # None at all: a temporary folder's path may be too long for a socket's name.
            "unix_socket_directories": "",
            "fsync": durable,
            # Even when nothing is synced: a commit must have left the process before it is
            # acknowledged, or a killed server forgets some, which a real one never does.
            "synchronous_commit": "on",
            "full_page_writes": durable,
            "max_connections": "200",
            "shared_buffers": "32MB",
            "timezone": "UTC",
        }
        words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [
            str(self.programs / "postgres"),
            *("-D", str(self._data), "-p", str(self.port), *words),
        ]

    def _is_ready(self, pid: int) -> bool:
        """Line 1 of the server's own note is its process id, line 8 how far it has come."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _database_of(url: str) -> str:
    return url.rpartition("/")[2]
