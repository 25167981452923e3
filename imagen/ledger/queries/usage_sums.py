"""Sums of usage by week, backend, model and caller, computed by the database."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Date,
    Select,
    StaticPool,
    create_engine,
    func,
    literal_column,
    select,
)

from imagen.domain.usage import UsageReport, UsageRow, UsageSum
from imagen.ledger.queries.usage_rows import in_span
from imagen.ledger.store.engine import Kind, Ledger
from imagen.ledger.store.outgoing_tables import imagen_usage
from imagen.ledger.store.tables import USAGE_SCHEMA
from imagen.ledger.store.types import UtcDateTime

# What usage is grouped by; the Monday of a week, in UTC, stands for the week. PostgreSQL's are the
# expressions of migration 0003, to the letter: from its statistics PostgreSQL knows how few groups
# there are, and need not sort a million rows. 2001 began on a Monday.
_KEYS: dict[Kind, dict[str, ColumnElement[Any]]] = {
    "postgresql": {
        "week": literal_column(
            "date_bin('7 days', created_at, timestamptz '2001-01-01 00:00:00+00')", UtcDateTime()
        ),
        "backend": imagen_usage.c.backend,
        "model": literal_column("coalesce(model, 'unknown')"),
        "caller": imagen_usage.c.caller,
    },
    "sqlite": {
        "week": literal_column("date(created_at, 'weekday 0', '-6 days')", Date()),
        "backend": imagen_usage.c.backend,
        "model": literal_column("coalesce(nullif(model, ''), 'unknown')"),
        "caller": imagen_usage.c.caller,
    },
}
_COST_USD: dict[Kind, ColumnElement[Any]] = {
    "postgresql": literal_column("sum(cost_usd_estimate)"),
    "sqlite": literal_column("sum_usd(cost_usd_estimate)"),
}
# The lower of the two in the middle. PostgreSQL's own way to a median by group sorts the whole
# table by all that is grouped by, which takes twice as long as sorting each group by itself.
_MEDIAN_MS: dict[Kind, ColumnElement[Any]] = {
    "postgresql": literal_column(
        "(SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY ms)"
        " FROM unnest(array_agg(latency_ms) FILTER (WHERE latency_ms >= 0)) AS ms)"
    ),
    "sqlite": literal_column("lower_median(latency_ms) FILTER (WHERE latency_ms >= 0)"),
}
_ROWS_PER_INSERT = 1_000


def sum_usage(
    ledger: Ledger,
    *,
    by: Sequence[str],
    since: datetime | None = None,
    until: datetime | None = None,
) -> UsageReport:
    """The usage in the ledger's table, by group and in total.

    Weeks are ISO weeks in UTC, such as ``2026-W47``. Costs are exact. The memory that it takes
    does not grow with the rows.

    Raises:
        LedgerUnavailable: the ledger cannot be read.
    """
    with ledger.read() as connection:
        if ledger.kind == "sqlite":
            _add_aggregates(connection)
        conditions = in_span(since, until)
        groups = list(_sums(connection, ledger.kind, by, conditions)) if by else []
        [total] = _sums(connection, ledger.kind, (), conditions)
    return UsageReport(tuple(by), sorted(groups, key=lambda each: each.key), total)


def sum_usage_rows(rows: Iterable[UsageRow], *, by: Sequence[str]) -> UsageReport:
    """The same of rows from elsewhere: SQLite sums them in a temporary table, on disk if large.

    Raises:
        LedgerUnavailable: there is no space for them on the disk.
    """
    engine = create_engine(
        "sqlite://",
        # A private database that is gone when it is closed.
        creator=lambda: sqlite3.connect("", isolation_level=None, check_same_thread=False),
        poolclass=StaticPool,
        execution_options={"schema_translate_map": {USAGE_SCHEMA: None}},
        hide_parameters=True,
    )
    temporary = Ledger("sqlite", engine, path=Path(tempfile.gettempdir()))
    try:
        with temporary.read() as connection:
            _fill(connection, rows)
        return sum_usage(temporary, by=by)
    finally:
        temporary.close()


def _sums(
    connection: Connection, kind: Kind, by: Sequence[str], conditions: list[ColumnElement[bool]]
) -> Iterator[UsageSum]:
    for row in connection.execute(_sums_of(by, kind, conditions)):
        *key, number, cost_usd, unpriced, median_ms = row
        # A sum of 0.000000 keeps its decimals.
        exact = Decimal(0 if cost_usd is None else cost_usd)
        yield UsageSum(tuple(map(_word, key)), number, exact, unpriced, median_ms)


def _sums_of(by: Sequence[str], kind: Kind, conditions: list[ColumnElement[bool]]) -> Select[Any]:
    keys = [_KEYS[kind][name] for name in by]
    return (
        select(
            *keys,
            func.count(),
            _COST_USD[kind],
            func.count().filter(imagen_usage.c.cost_usd_estimate.is_(None)),
            _MEDIAN_MS[kind],
        )
        .select_from(imagen_usage)
        .where(*conditions)
        .group_by(*keys)
    )


def _word(part: date | str | None) -> str:
    if isinstance(part, date):
        year, week, _ = part.isocalendar()
        return f"{year}-W{week:02}"
    # Tables that were there before us hold rows without a backend or a caller.
    return part or "unknown"


def _fill(connection: Connection, rows: Iterable[UsageRow]) -> None:
    """Put the rows into a table of that name; its costs are text, so that they stay exact."""
    connection.exec_driver_sql(
        "CREATE TABLE imagen_usage (created_at TEXT, backend TEXT, model TEXT, caller TEXT,"
        " cost_usd_estimate TEXT, latency_ms INTEGER)"
    )
    values = (
        (
            row.created_at.astimezone(UTC).date().isoformat(),
            *(_text(each) for each in (row.backend, row.model, row.caller, row.cost_usd)),
            row.latency_ms,
        )
        for row in rows
    )
    while chunk := list(islice(values, _ROWS_PER_INSERT)):
        connection.exec_driver_sql("INSERT INTO imagen_usage VALUES (?, ?, ?, ?, ?, ?)", chunk)


def _text(value: object) -> str | None:
    """As text that SQLite takes: without half characters, which JSON can hold."""
    return None if value is None else str(value).encode(errors="replace").decode()


def _add_aggregates(connection: Connection) -> None:
    """Give this connection to SQLite what it lacks: exact sums of money, and medians."""
    driver: Any = connection.connection.driver_connection
    driver.create_aggregate("sum_usd", 1, _SumUsd)
    driver.create_aggregate("lower_median", 1, _LowerMedian)


class _SumUsd:
    """Adds up costs as Decimals; None where no price is known."""

    def __init__(self) -> None:
        self._usd: Decimal | None = None

    def step(self, cost_usd: float | str | None) -> None:
        if cost_usd is not None:
            usd = _exact_usd(cost_usd)
            self._usd = usd if self._usd is None else self._usd + usd

    def finalize(self) -> str | None:
        return None if self._usd is None else str(self._usd)


# Prices repeat: a look-up takes a fifth of the time.
@lru_cache(maxsize=10_000)
def _exact_usd(cost_usd: float | str) -> Decimal:
    """The cost from SQLite: text, or a float that stands for the nearest number of six decimals."""
    return Decimal(cost_usd if isinstance(cost_usd, str) else f"{cost_usd:.6f}")


class _LowerMedian:
    """The lower of the two values in the middle, as SQL's percentile_disc has it."""

    def __init__(self) -> None:
        # Far fewer latencies differ than there are rows.
        self._counts: dict[int, int] = {}

    def step(self, value: int | None) -> None:
        if value is not None:
            self._counts[value] = self._counts.get(value, 0) + 1

    def finalize(self) -> int | None:
        half, passed = sum(self._counts.values()) / 2, 0
        for value in sorted(self._counts):
            passed += self._counts[value]
            if passed >= half:
                return value
        return None
