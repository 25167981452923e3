"""What a database's error means to a person: unreachable, outdated, or a wrong statement."""

from __future__ import annotations

from sqlalchemy import exc

from imagen.errors import LedgerOutdated, LedgerUnavailable

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


def translate_error(error: exc.DBAPIError, address: str) -> Exception:
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
