"""Opens a ledger at an address: a SQLite file, or a PostgreSQL database."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Dialect, create_engine, event, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from imagen.errors import ConfigError, LedgerUnavailable
from imagen.ledger.store.engine import Ledger
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
        # Ledger.write begins the transaction: the driver's own would not be immediate.
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
        # One connection serves a process that has little to do, and the second one may be closed.
        pool_use_lifo=True,
        pool_pre_ping=False,
        pool_recycle=1800,
        # Most work is one statement: transactions are requested where there are more.
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
    """A new connection; where PostgreSQL has none left, it is asked again for some seconds."""
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
