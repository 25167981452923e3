"""One open ledger: how this process reads and writes its database."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Dialect, Engine, QueuePool, create_engine, event, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from imagen.errors import ConfigError, LedgerClosed, LedgerOutdated, LedgerUnavailable
from imagen.ledger.store.tables import SCHEMA, USAGE_SCHEMA

# busy_timeout polls, it does not queue: with 4 tight-loop writers renewing a lease took up to 4.6 s
# (measured), so the driver's default of 5 s would have failed.
BUSY_TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 5
#: Of one process to PostgreSQL; its threads wait for one another. 48 workers of two fit into the 97
#: that a default PostgreSQL has for its users. A statement takes a millisecond, a drawing seconds.
MOST_CONNECTIONS = 2
#: How long a PostgreSQL that has no connection left is asked again.
FULL_PATIENCE_S = 5.0
_FULL_RETRY_S = 0.2
#: A second connection that nothing used for so long is closed.
_IDLE_S = 5.0
_TRANSACTIONS: Literal["READ COMMITTED"] = "READ COMMITTED"

Kind = Literal["sqlite", "postgresql"]


@dataclass
class Ledger:
    """A database of record that this process may read and write; threads share it.

    ``write`` is the only way to change anything. On SQLite it hands out the process's one writing
    connection under a lock, inside BEGIN IMMEDIATE; on PostgreSQL a connection of a pool.
    """

    kind: Kind
    engine: Engine
    #: Where artifact bytes stand when they are files: SQLite only.
    artifact_folder: Path | None = None
    #: The file of a SQLite ledger.
    path: Path | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _writer: Connection | None = field(default=None, repr=False)
    #: How the writer commits now.
    _is_durable: bool | None = field(default=None, repr=False)
    _is_closed: bool = field(default=False, repr=False)

    @property
    def address(self) -> str:
        """Where it is, without a password: for messages."""
        if self.path:
            return str(self.path)
        # Parameters may hold a password, too.
        url = self.engine.url.set(drivername=self.kind, query={})
        return url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading, each statement on its own.

        Raises:
            LedgerUnavailable: the database cannot be reached or read.
        """
        with self._translated(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def stream(self) -> Iterator[Connection]:
        """A connection for reading more rows than fit in memory, as they come.

        Raises:
            LedgerUnavailable: the database cannot be reached or read.
        """
        with self._translated(), self.engine.connect() as connection:
            if self.kind == "postgresql":
                # Where its cursors live; SQLite streams without one, which would keep writers out.
                connection.execution_options(isolation_level=_TRANSACTIONS)
            yield connection.execution_options(yield_per=2_000)

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction, committed on leaving and rolled back on an error.

        With ``durable=False`` a power cut may undo it (never half of it): for the writes that a
        later claim repeats anyway. Every write of a lease holder names owner and fence, which is
        what makes that safe.

        Raises:
            LedgerUnavailable: the database cannot be reached or written.
        """
        with self._translated():
            if self.kind == "sqlite":
                with self._lock:
                    yield from self._write_sqlite(durable)
            else:
                with self.engine.connect() as connection:
                    connection.execution_options(isolation_level=_TRANSACTIONS)
                    with connection.begin():
                        if not durable:
                            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                        yield connection

    @contextmanager
    def write_one(self, *, durable: bool = True) -> Iterator[Connection]:
        """As ``write``, for what PostgreSQL does in one statement, which is then its own commit.

        ``durable`` is up to that statement there: see ``claim_statements.relaxed``.
        """
        if self.kind == "sqlite":
            with self.write(durable=durable) as connection:
                yield connection
        else:
            with self.read() as connection:
                yield connection

    def _write_sqlite(self, durable: bool) -> Iterator[Connection]:
        if self._writer is None:
            self._writer = self.engine.connect()
            self._is_durable = None
        if durable is not self._is_durable:
            # In WAL mode FULL syncs at each commit and NORMAL only at checkpoints.
            _execute(self._writer, f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._is_durable = durable
        with self._writer.begin():
            # The driver begins none by itself, as SQLAlchemy's documentation recommends.
            _execute(self._writer, "BEGIN IMMEDIATE")
            yield self._writer

    @contextmanager
    def _translated(self) -> Iterator[None]:
        if self._is_closed:
            # A thread that outlived its command: a connection made now would never be closed.
            raise LedgerClosed(f"the ledger at {self.address} was closed by this process")
        try:
            yield
        except exc.IntegrityError:
            raise
        except exc.TimeoutError as error:
            raise LedgerUnavailable(
                f"the ledger at {self.address} is too slow: no connection to it became free",
                "is the database overloaded, or a statement in it locked?",
            ) from error
        except exc.DBAPIError as error:
            raise _translate(error, self.address) from error

    def close(self) -> None:
        """Close every connection. Each later use of this ledger raises LedgerUnavailable."""
        self._is_closed = True
        self.disconnect()

    def close_idle(self) -> None:
        """Close all connections but one that nothing used for some seconds: PostgreSQL only."""
        pool = self.engine.pool
        if self.kind == "sqlite" or not isinstance(pool, QueuePool) or pool.checkedin() < 2:
            return
        recent, oldest = pool.connect(), pool.connect()
        try:
            since_s = oldest.info.get("idle_since_s", time.monotonic())
            if time.monotonic() - since_s > _IDLE_S:
                oldest.detach()
        finally:
            oldest.close()
            recent.close()

    def disconnect(self) -> None:
        """Let go of every idle connection; later uses connect again, after a fork too."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self.engine.dispose()


def open_ledger(url: str, *, default_path: Path, pool_size: int = MOST_CONNECTIONS) -> Ledger:
    """The ledger at a SQLAlchemy ``url``, or the SQLite file ``default_path`` where it is "".

    Connects to nothing yet (a SQLite file's folder is made). Engines must be made after a fork.

    Raises:
        ConfigError: the url is not one of SQLite or PostgreSQL.
        LedgerUnavailable: the folder of the SQLite file cannot be made.
    """
    if not url:
        return _open_sqlite(default_path)
    parsed = _parse_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise ConfigError("an SQLite ledger needs a file", "database.url: sqlite:////path.db")
        return _open_sqlite(Path(parsed.database).expanduser().absolute())
    return _open_postgresql(parsed, pool_size)


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        # The url itself may hold a password, so it is not repeated here.
        raise ConfigError(
            "database.url is not a database address",
            "for example: postgresql://user@host:5432/name; in a password, # / ? @ are written"
            " %23 %2F %3F %40",
        ) from None
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return _with_hidden_password(parsed.set(drivername="postgresql+psycopg"))
    if parsed.get_backend_name() == "sqlite":
        return parsed
    raise ConfigError(
        f"database.url names {parsed.drivername!r}, which is not supported",
        "use postgresql://… or leave it empty for SQLite",
    )


def _with_hidden_password(url: URL) -> URL:
    """The same address with a password among its parameters where SQLAlchemy hides it."""
    password = url.query.get("password")
    if not isinstance(password, str):
        return url
    return url.difference_update_query(["password"]).set(password=url.password or password)


def _open_sqlite(path: Path) -> Ledger:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise LedgerUnavailable(
            f"cannot make the ledger's folder {path.parent}: {error.strerror}",
            "set IMAGEN_DATABASE_URL=sqlite:////some/other/path.db",
        ) from error
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        execution_options={"schema_translate_map": {SCHEMA: None, USAGE_SCHEMA: None}},
        # Parameters hold prompts, and messages of errors must not.
        hide_parameters=True,
    )

    @event.listens_for(engine, "do_connect")
    def _make_private(*_arguments: object) -> None:
        # It holds every prompt. SQLite gives its own files beside it the same rights.
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    @event.listens_for(engine, "connect")
    def _configure(dbapi_connection: Any, _record: object) -> None:
        # Whoever writes begins the transaction: the driver's own would not be immediate.
        dbapi_connection.isolation_level = None
        dbapi_connection.execute("PRAGMA foreign_keys = ON")
        if os.access(path, os.W_OK, effective_ids=True):
            dbapi_connection.execute("PRAGMA journal_mode = WAL")

    # Named after the file: two ledgers in one folder must not sweep each other's images.
    artifact_folder = path.with_name(f"{path.name}-artifacts")
    return Ledger("sqlite", engine, artifact_folder=artifact_folder, path=path)


def _open_postgresql(url: URL, pool_size: int) -> Ledger:
    arguments: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "imagen",
        "keepalives_idle": 30,
    }
    if key_password := url.query.get("sslpassword"):
        # SQLAlchemy shows an address with its parameters, and hides the user's password only.
        arguments["sslpassword"] = key_password
        url = url.difference_update_query(["sslpassword"])
    if _is_transaction_pooler(url):
        # Such a pooler gives each transaction another session: prepared statements are not there.
        arguments["prepare_threshold"] = None
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        # One connection serves a process that has little to do, and the other one may be closed.
        pool_use_lifo=True,
        pool_pre_ping=False,
        pool_recycle=1800,
        # Most of what is done is one statement: transactions are asked for where there are more.
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        connect_args=arguments,
        hide_parameters=True,
    )
    event.listen(engine, "do_connect", _connect_patiently)
    event.listen(engine, "checkin", _note_idle)
    if not _is_transaction_pooler(url):

        @event.listens_for(engine, "connect")
        def _configure(dbapi_connection: Any, _record: object) -> None:
            # A claim is a large plan of tiny look-ups: compiling it takes fifty times as long as
            # running it, and planning it anew each time three times as long (measured).
            dbapi_connection.execute("SET jit = off; SET plan_cache_mode = force_generic_plan")

    return Ledger("postgresql", engine)


def _connect_patiently(dialect: Dialect, _record: object, args: Any, values: Any) -> Any:
    """A new connection; where PostgreSQL has none left, others are about to give theirs back."""
    until_s = time.monotonic() + FULL_PATIENCE_S
    while True:
        try:
            return dialect.connect(*args, **values)
        except dialect.loaded_dbapi.OperationalError as error:
            if not _is_full(error) or time.monotonic() > until_s:
                raise
            time.sleep(_FULL_RETRY_S)


def _is_full(error: Exception) -> bool:
    """Whether PostgreSQL refused a connection for there being too many (SQLSTATE 53300).

    psycopg knows no code of an error that came before the connection stood.
    """
    return "too many c" in str(error) or "remaining connection slots" in str(error)


def _note_idle(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["idle_since_s"] = time.monotonic()


def _is_transaction_pooler(url: URL) -> bool:
    """Whether the address looks like one: 6543 is where Supabase's and many others listen."""
    return url.port == 6543 or url.query.get("pgbouncer") == "true"


def _execute(connection: Connection, statement: str) -> None:
    """Hand a statement to SQLite's driver, past SQLAlchemy, which would count it as the first one
    of a transaction and takes longer than SQLite does."""
    driver: Any = connection.connection.dbapi_connection
    try:
        driver.execute(statement)
    except connection.dialect.loaded_dbapi.Error as error:
        # What SQLAlchemy would have made of it.
        raise exc.OperationalError(statement, None, error) from error


# What a database says when it is not there, as distinct from a statement being wrong.
_SQLITE_ADVICE: tuple[tuple[str, str], ...] = (
    ("readonly database", "make the file and its folder writable"),
    ("unable to open", "check that the folder exists and is writable"),
    ("not a database", "move the file away and a new ledger is made, or restore a backup"),
    ("malformed", "restore a backup, or: sqlite3 FILE .recover"),
    ("disk is full", "free some space"),
    ("disk I/O error", "check the disk"),
    ("database is locked", "another process holds it; try again"),
)


#: SQLite's code for a statement that is wrong; its driver calls that an OperationalError too.
#: Source: sqlite.org/rescode.html (read 2026-11).
_SQLITE_ERROR = 1


def _translate(error: exc.DBAPIError, address: str) -> Exception:
    """The error a person can act on; the original where the statement itself was wrong."""
    first_line = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "no answer"
    sqlstate = getattr(error.orig, "sqlstate", None)
    if sqlstate in ("42P01", "3F000") or "no such table" in first_line:
        return LedgerOutdated(f"the ledger at {address} has no tables", "run: imagen db upgrade")
    for words, advice in _SQLITE_ADVICE:
        if words in first_line:
            return LedgerUnavailable(
                f"the ledger at {address} cannot be used: {first_line}", advice
            )
    if getattr(error.orig, "sqlite_errorcode", None) == _SQLITE_ERROR:
        return error
    if isinstance(error, (exc.OperationalError, exc.InterfaceError)) or (
        error.connection_invalidated
    ):
        return LedgerUnavailable(
            f"the ledger at {address} is unreachable: {first_line}",
            "is the database running? it is set by IMAGEN_DATABASE_URL or database.url",
        )
    return error
