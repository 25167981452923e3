"""One open ledger: how this process reads and writes its database."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, QueuePool, exc

from imagen.errors import LedgerClosed, LedgerUnavailable
from imagen.ledger.store.database_errors import translate_error

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
                # Its cursors live in one; SQLite streams without one, which would block writers.
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

        ``durable`` is up to that statement there: see ``claim_order.relaxed``.
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
            # For a thread that outlives its command: a connection made now would never be closed.
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
            raise translate_error(error, self.address) from error

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
        """Close every idle connection; later uses connect again, after a fork too."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self.engine.dispose()


def _execute(connection: Connection, statement: str) -> None:
    """Hand a statement to SQLite's driver, past SQLAlchemy, which would count it as the first one
    of a transaction and takes longer than SQLite does."""
    driver: Any = connection.connection.dbapi_connection
    try:
        driver.execute(statement)
    except connection.dialect.loaded_dbapi.Error as error:
        # What SQLAlchemy would have made of it.
        raise exc.OperationalError(statement, None, error) from error
