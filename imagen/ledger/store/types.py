"""Column types and expressions that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    DateTime,
    Dialect,
    String,
    TypeDecorator,
    literal,
    literal_column,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine


class JsonDocument(TypeDecorator[Any]):
    """A JSON document: jsonb on PostgreSQL, text on SQLite."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(JSON())
        # Its package brings every driver of PostgreSQL: a tenth of what a command on SQLite
        # imports otherwise, which is why with_variant() is not used.
        from sqlalchemy.dialects.postgresql import JSONB  # noqa: PLC0415

        return dialect.type_descriptor(JSONB())


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time: timezone-aware UTC on the Python side, on every database.

    SQLite has no time zones and would hand back naive values; a naive value is refused.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive time {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class StateName(TypeDecorator[str]):
    """The name of a state: where it is compared, it stands in the SQL itself, not as a parameter.

    The partial indexes depend on it. SQLite prepares a statement anew whenever a parameter is bound
    that may decide on such an index (measured: a claim in 0.34 ms instead of 0.07), and PostgreSQL
    cannot keep a plan that uses one.
    """

    impl = String(20)
    cache_ok = True

    class Comparator(TypeDecorator.Comparator[str]):
        def operate(self, op: Any, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
            return super().operate(op, *(_in_the_sql(each) for each in other), **kwargs)

    comparator_factory = Comparator


def _in_the_sql(value: Any) -> Any:
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_in_the_sql(each) for each in value]
    if not isinstance(value, str):
        return value
    if not value.isalpha():
        raise ValueError(f"{value!r} is not the name of a state")
    return literal_column(f"'{value!s}'", String())


class _NowPlus(FunctionElement[datetime]):
    type = UtcDateTime()
    name = "now_plus"
    inherit_cache = True


def now_plus(seconds: float | ColumnElement[float] = 0.0) -> ColumnElement[datetime]:
    """The database's own clock, ``seconds`` from now: leases are never judged by a host's clock."""
    return _NowPlus(literal(seconds) if isinstance(seconds, (int, float)) else seconds)


@compiles(_NowPlus, "postgresql")
def _now_plus_postgresql(element: _NowPlus, compiler: Any, **kw: Any) -> str:
    # clock_timestamp() moves on within a transaction; now() is the transaction's start.
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kw)}))"


@compiles(_NowPlus, "sqlite")
def _now_plus_sqlite(element: _NowPlus, compiler: Any, **kw: Any) -> str:
    # Milliseconds, padded to the six digits that SQLAlchemy writes, so that text compares as time.
    # unixepoch('subsec') would be NULL on SQLite 3.40.
    seconds = compiler.process(element.clauses, **kw)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', ({seconds}) || ' seconds') || '000')"


class _Now(FunctionElement[datetime]):
    type = UtcDateTime()
    name = "now"
    inherit_cache = True


def now() -> ColumnElement[datetime]:
    """The database's clock as a bound of an index: the start of the transaction on PostgreSQL.

    ``now_plus`` moves on while a statement runs there, so no index can be searched by it.
    """
    return _Now()


@compiles(_Now, "postgresql")
def _now_postgresql(_element: _Now, _compiler: Any, **_kw: Any) -> str:
    return "now()"


@compiles(_Now, "sqlite")
def _now_sqlite(_element: _Now, _compiler: Any, **_kw: Any) -> str:
    return "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')"


class _SecondsSince(FunctionElement[float]):
    name = "seconds_since"
    inherit_cache = True

    def __init__(self, column: ColumnElement[Any]) -> None:
        super().__init__(column)


def seconds_since(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """How many seconds ago ``column`` was, by the database's clock; NULL stays NULL."""
    return _SecondsSince(column)


@compiles(_SecondsSince, "postgresql")
def _seconds_since_postgresql(element: _SecondsSince, compiler: Any, **kw: Any) -> str:
    inner = compiler.process(element.clauses, **kw)
    return f"extract(epoch FROM clock_timestamp() - ({inner}))::float8"


@compiles(_SecondsSince, "sqlite")
def _seconds_since_sqlite(element: _SecondsSince, compiler: Any, **kw: Any) -> str:
    inner = compiler.process(element.clauses, **kw)
    return f"((julianday('now') - julianday({inner})) * 86400.0)"
