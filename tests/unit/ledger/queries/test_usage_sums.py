"""Sums of usage: exact, honest about what is not known, and the same on every database."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, text

from imagen.domain.usage import GROUPINGS, UsageReport, UsageRow, UsageSum
from imagen.ledger.queries.usage_rows import read_usage
from imagen.ledger.queries.usage_sums import _sums_of, sum_usage, sum_usage_rows
from imagen.ledger.store.outgoing_tables import imagen_usage
from tests.usage_row import usage_row


def summed_by_decimals(rows: Iterable[UsageRow], by: Sequence[str]) -> UsageReport:
    """The same, one row after the other and without a database: what the sums have to be."""
    members: dict[tuple[str, ...], list[UsageRow]] = {(): []}
    for each in rows:
        year, week, _ = each.created_at.astimezone(UTC).isocalendar()
        parts = {"week": f"{year}-W{week:02}", "backend": each.backend, "caller": each.caller}
        parts["model"] = each.model or "unknown"
        members.setdefault(tuple(parts[name] for name in by), []).append(each)
        if by:
            members[()].append(each)
    total = _sum_of((), members[()])
    groups = [_sum_of(key, members[key]) for key in sorted(members) if key]
    return UsageReport(tuple(by), groups, total)


def _sum_of(key: tuple[str, ...], rows: list[UsageRow]) -> UsageSum:
    costs = [row.cost_usd for row in rows if row.cost_usd is not None]
    latencies = sorted(row.latency_ms for row in rows if row.latency_ms is not None)
    median = latencies[(len(latencies) - 1) // 2] if latencies else None
    return UsageSum(key, len(rows), sum(costs, Decimal(0)), len(rows) - len(costs), median)


def decimals_of(report: UsageReport) -> list[str]:
    """The digits of each sum: CSV shows them all."""
    return [f"{each.cost_usd:f}" for each in (*report.groups, report.total)]


#: Dollars as a numeric(12, 6) can hold them, and as tables of others do.
six_decimals = st.decimals(min_value=0, max_value=999_999, places=6)
any_decimals = st.decimals(min_value=0, max_value=999_999, allow_nan=False).map(
    lambda usd: round(usd, 18)
)
usage = st.fixed_dictionaries(
    {
        "created_at": st.integers(0, 10**9).map(lambda s: datetime.fromtimestamp(s, UTC)),
        "backend": st.sampled_from(["flux", "dev", "Dev", "unknown"]),
        "model": st.sampled_from([None, "schnell", "é"]),
        "latency_ms": st.none() | st.integers(0, 40) | st.integers(0, 2**31 - 1),
        "caller": st.sampled_from(["kim", "Ann", "a,b"]),
        "cost_usd": st.none() | six_decimals,
    }
)
groupings = st.sets(st.sampled_from(GROUPINGS)).map(
    lambda names: tuple(name for name in GROUPINGS if name in names)
)
_EVERY_TIME = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_EVERY_TIME
@given(rows=st.lists(usage, max_size=25), by=groupings)
def test_a_database_sums_as_decimals_do(ledger: Any, rows: list[dict[str, Any]], by: Any) -> None:
    with ledger.write() as connection:
        connection.execute(delete(imagen_usage))
        for each in rows:
            cost_usd = each["cost_usd"]
            values = {key: value for key, value in each.items() if key != "cost_usd"}
            connection.execute(
                insert(imagen_usage).values(
                    **values, cost_usd_estimate=cost_usd, prompt_hash="h", seed=7
                )
            )

    report = sum_usage(ledger, by=by)

    expected = summed_by_decimals([usage_row(**each) for each in rows], by)
    assert report == expected
    stored = summed_by_decimals(read_usage(ledger, since=None, until=None), by)
    assert decimals_of(report) == decimals_of(stored)


@_EVERY_TIME
@given(
    rows=st.lists(
        st.tuples(usage, st.none() | any_decimals).map(lambda it: it[0] | {"cost_usd": it[1]}),
        max_size=25,
    ),
    by=groupings,
)
def test_rows_from_elsewhere_keep_every_decimal(rows: list[dict[str, Any]], by: Any) -> None:
    used = [usage_row(**each) for each in rows]

    report = sum_usage_rows(iter(used), by=by)

    assert report == summed_by_decimals(used, by)
    assert decimals_of(report) == decimals_of(summed_by_decimals(used, by))


def test_rows_are_summed_by_week_backend_model_and_caller() -> None:
    rows = [
        usage_row(),
        usage_row(),
        usage_row(caller="lee"),
        usage_row(backend="dev", cost_usd=Decimal(1)),
    ]

    report = sum_usage_rows(rows, by=GROUPINGS)

    assert [(group.key, group.count) for group in report.groups] == [
        (("2026-W47", "dev", "schnell", "kim"), 1),
        (("2026-W47", "flux", "schnell", "kim"), 2),
        (("2026-W47", "flux", "schnell", "lee"), 1),
    ]
    assert (report.total.count, report.total.cost_usd) == (4, Decimal("1.3"))


def test_unknown_prices_are_counted_beside_the_sum() -> None:
    rows = [usage_row(cost_usd=cost_usd) for cost_usd in (None, None, Decimal("0.1"), Decimal(0))]

    report = sum_usage_rows(rows, by=())

    assert (report.total.cost_usd, report.total.unpriced) == (Decimal("0.1"), 2)


def test_ten_thousand_tenths_are_a_thousand() -> None:
    assert sum_usage_rows((usage_row() for _ in range(10_000)), by=()).total.cost_usd == Decimal(
        1000
    )


@pytest.mark.parametrize(
    ("latencies", "median"),
    [([], None), ([None], None), ([5], 5), ([1, 2, 3, 4], 2), ([9, 1, 5], 5), ([-1, 7], 7)],
)
def test_the_median_is_of_the_known_ones_and_one_of_them(
    latencies: list[int | None], median: int | None
) -> None:
    report = sum_usage_rows((usage_row(latency_ms=latency) for latency in latencies), by=())

    assert report.total.median_latency_ms == median


def test_the_order_of_rows_does_not_matter() -> None:
    rows = [usage_row(latency_ms=n, caller=f"c{n % 3}") for n in range(50)]
    shuffled = rows.copy()
    random.Random(1).shuffle(shuffled)

    assert sum_usage_rows(rows, by=GROUPINGS) == sum_usage_rows(shuffled, by=GROUPINGS)


def test_a_week_is_one_of_utc() -> None:
    monday_in_tokyo = datetime(2026, 11, 16, 3, tzinfo=timezone(timedelta(hours=9)))

    [group] = sum_usage_rows([usage_row(created_at=monday_in_tokyo)], by=("week",)).groups

    assert group.key == ("2026-W46",)


def test_without_groups_there_is_the_total_alone() -> None:
    report = sum_usage_rows([usage_row(), usage_row()], by=())

    assert (report.groups, report.total.count) == ([], 2)


def test_a_text_that_no_database_holds_is_summed_all_the_same() -> None:
    [group] = sum_usage_rows([usage_row(caller="\ud800")], by=("caller",)).groups

    assert group.key == ("?",)


def test_memory_does_not_grow_with_the_rows() -> None:
    used = (usage_row(latency_ms=number % 1_000) for number in range(50_000))
    tracemalloc.start()

    report = sum_usage_rows(used, by=GROUPINGS)

    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.total.count == 50_000
    # A list of these rows takes 20 MB.
    assert peak_bytes < 4_000_000


@pytest.mark.parametrize(
    ("moment", "week"),
    [
        (datetime(2026, 11, 15, 23, 59, tzinfo=UTC), "2026-W46"),
        (datetime(2026, 11, 16, tzinfo=UTC), "2026-W47"),
        (datetime(2027, 1, 1, tzinfo=UTC), "2026-W53"),
    ],
)
def test_weeks_are_iso_weeks(moment: datetime, week: str) -> None:
    [group] = sum_usage_rows([usage_row(created_at=moment)], by=("week",)).groups

    assert group.key == (week,)


@pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
def test_postgresql_knows_how_few_groups_there_are(ledger: Any) -> None:
    with ledger.write() as connection:
        connection.execute(
            text(
                "INSERT INTO mai.imagen_usage (created_at, backend, prompt_hash, caller)"
                " SELECT timestamptz '2026-01-01 00:00:00+00' + i * interval '10 minutes', 'b', '',"
                " 'c' FROM generate_series(1, 10000) i"
            )
        )
        connection.execute(text("ANALYZE mai.imagen_usage"))
    statement = _sums_of(GROUPINGS, "postgresql", [])

    sql = str(statement.compile(ledger.engine, compile_kwargs={"literal_binds": True}))
    with ledger.read() as connection:
        [plan] = connection.execute(text(f"EXPLAIN (FORMAT json) {sql}")).scalar_one()

    # Ten weeks in all. Without the statistics it counts on a group for each row.
    assert plan["Plan"]["Plan Rows"] < 50
