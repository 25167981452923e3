"""How long the sums of `imagen usage` take over a million rows, on each database."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from benchmarks.bench import DATABASES, Bench
from benchmarks.rows import Row
from imagen.domain.usage import GROUPINGS
from imagen.ledger.queries.usage_sums import sum_usage
from imagen.ledger.store.engine import Ledger
from imagen.wiring.parts import opened_ledger

_ROWS = 1_000_000
_ROUNDS = 3
_START = datetime(2026, 1, 1, tzinfo=UTC)
#: Four backends, three models, three callers, a third of the prices different, 28 s between rows.
_COLUMNS = """
    'flux-' || (n % 4), CASE n % 4 WHEN 0 THEN NULL ELSE 'm' || (n % 2) END, '',
    n % 10000 * 7919 % 30011,
    CASE WHEN n % 7 = 0 THEN NULL WHEN n % 3 = 0 THEN n % 50000 / 1000000.0 ELSE 0.003 END,
    'caller-' || (n % 3)
"""
_FILL = {
    "SQLite": f"""
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :rows)
        INSERT INTO imagen_usage (created_at, backend, model, prompt_hash, latency_ms,
            cost_usd_estimate, caller)
        SELECT strftime('%Y-%m-%d %H:%M:%f', '2026-01-01', (n * 28) || ' seconds') || '000',
            {_COLUMNS} FROM numbers
    """,
    "PostgreSQL": f"""
        INSERT INTO mai.imagen_usage (created_at, backend, model, prompt_hash, latency_ms,
            cost_usd_estimate, caller)
        SELECT timestamptz '2026-01-01 00:00:00+00' + n * interval '28 s', {_COLUMNS}
        FROM generate_series(1, :rows) n
    """,
}


def measure(bench: Bench) -> list[Row]:
    """By week, backend, model and caller; and a month of it."""
    number = _ROWS // 10 if bench.quick else _ROWS
    rows = []
    for database in DATABASES:
        with opened_ledger(bench.home(database).process) as ledger:
            with ledger.write() as connection:
                connection.execute(text(_FILL[database]), {"rows": number})
            if database == "PostgreSQL":
                with ledger.read() as connection:
                    connection.execute(text("ANALYZE mai.imagen_usage"))
            everything = Row(f"{number:,} rows, {database}", _sums(ledger, number, None), "s")
            month = _sums(ledger, 30 * 86_400 // 28, _START + timedelta(days=30))
            rows += [everything, Row(f"  a month of them, {database}", month, "s", everything)]
    return rows


def _sums(ledger: Ledger, number: int, until: datetime | None) -> list[float]:
    samples = []
    for _ in range(_ROUNDS):
        began_s = time.perf_counter()
        report = sum_usage(ledger, by=GROUPINGS, until=until)
        samples.append(time.perf_counter() - began_s)
        if abs(report.total.count - number) > 1:
            raise RuntimeError(f"{report.total.count} rows of {number} were summed")
    return samples
