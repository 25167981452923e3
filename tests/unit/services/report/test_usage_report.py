"""Sums of usage: honest about what is not known, the same whatever the order of the rows."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from imagen.errors import RequestError
from imagen.ledger.queries.usage_rows import UsageRow
from imagen.services.report.usage_report import parse_grouping, sum_usage
from imagen.services.report.usage_rows import read_all_usage


def row(**changes: Any) -> UsageRow:
    usual: dict[str, Any] = {
        "created_at": datetime(2026, 11, 16, tzinfo=UTC),
        "backend": "flux",
        "model": "schnell",
        "seed": 7,
        "prompt_hash": "h",
        "latency_ms": 100,
        "cost_usd": Decimal("0.1"),
        "caller": "kim",
    }
    return UsageRow(**usual | changes)


def test_rows_are_summed_by_week_backend_model_and_caller() -> None:
    rows = [row(), row(), row(caller="lee"), row(backend="dev", cost_usd=Decimal(1))]

    report = sum_usage(rows)

    assert [(group.key, group.count) for group in report.groups] == [
        (("2026-W47", "dev", "schnell", "kim"), 1),
        (("2026-W47", "flux", "schnell", "kim"), 2),
        (("2026-W47", "flux", "schnell", "lee"), 1),
    ]
    assert (report.total.count, report.total.cost_usd) == (4, Decimal("1.3"))


def test_unknown_prices_are_counted_beside_the_sum() -> None:
    report = sum_usage([row(cost_usd=None), row(cost_usd=None), row(), row(cost_usd=Decimal(0))])

    assert (report.total.cost_usd, report.total.unpriced) == (Decimal("0.1"), 2)


def test_ten_thousand_tenths_are_a_thousand() -> None:
    assert sum_usage(row() for _ in range(10_000)).total.cost_usd == Decimal(1000)


@pytest.mark.parametrize(
    ("latencies", "median"),
    [([], None), ([None], None), ([5], 5), ([1, 2, 3, 4], 2), ([9, 1, 5], 5), ([-1, 7], 7)],
)
def test_the_median_is_of_the_known_ones_and_one_of_them(
    latencies: list[int | None], median: int | None
) -> None:
    report = sum_usage(row(latency_ms=latency) for latency in latencies)

    assert report.total.median_latency_ms == median


def test_the_order_of_rows_does_not_matter() -> None:
    rows = [row(latency_ms=n, caller=f"c{n % 3}") for n in range(50)]
    shuffled = rows.copy()
    random.Random(1).shuffle(shuffled)

    assert sum_usage(rows) == sum_usage(shuffled)


def test_a_week_is_one_of_utc() -> None:
    monday_in_tokyo = datetime(2026, 11, 16, 3, tzinfo=timezone(timedelta(hours=9)))

    [group] = sum_usage([row(created_at=monday_in_tokyo)], by=("week",)).groups

    assert group.key == ("2026-W46",)


def test_without_groups_there_is_the_total_alone() -> None:
    report = sum_usage([row(), row()], by=())

    assert (report.groups, report.total.count) == ([], 2)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("week,backend,model,caller", ("week", "backend", "model", "caller")),
        ("caller, Week", ("week", "caller")),
        ("", ()),
    ],
)
def test_groups_come_in_the_order_of_the_columns(text: str, groups: tuple[str, ...]) -> None:
    assert parse_grouping(text) == groups


def test_an_unknown_group_is_named() -> None:
    with pytest.raises(RequestError, match="'day'"):
        parse_grouping("day")


class Elsewhere:
    """A usage table that holds these attempts."""

    def __init__(self, *attempt_ids: UUID | None) -> None:
        self.attempt_ids = attempt_ids

    def read(self, *, since: Any, until: Any) -> Any:
        return iter(row(attempt_id=each, caller="there") for each in self.attempt_ids)


def test_rows_on_their_way_are_added_and_none_comes_twice(sqlite_desk: Any) -> None:
    from imagen.ledger.jobs.delivery import claim_deliveries
    from imagen.ledger.queries.usage_rows import record_usage

    attempts = []
    for _ in range(3):
        sqlite_desk.generated()
        [claim] = claim_deliveries(sqlite_desk.ledger, sqlite_desk.claimant(), host="here")
        record_usage(sqlite_desk.ledger, [claim], also_send=True)
        attempts.append(claim.attempt.id)
    foreign = uuid4()
    # One arrived, and nobody lived to say so.
    table = Elsewhere(foreign, attempts[1], None)
    told: list[int] = []

    rows = list(
        read_all_usage(sqlite_desk.ledger, table, since=None, until=None, on_unsent=told.append)
    )

    assert [each.attempt_id for each in rows] == [
        *(foreign, attempts[1], None),
        *(attempts[0], attempts[2]),
    ]
    # `imagen sync` would send all three: the ledger does not know that one arrived.
    assert told == [3]
