"""The usage table: a row for each attempt that drew, never its prompt, and honest sums."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import and_, insert, select, text

from imagen.domain.cost import UNKNOWN_COST, Cost
from imagen.domain.prompt import hash_prompt
from imagen.ledger.jobs.delivery import claim_deliveries
from imagen.ledger.jobs.generated import record_generated
from imagen.ledger.outbox.backlog import read_unsent_usage
from imagen.ledger.outbox.outbox import claim_outgoing, count_pending, record_sent
from imagen.ledger.queries.usage_rows import (
    _sums_of_groups,
    in_span,
    iso_week,
    read_usage,
    record_usage,
    sum_in_database,
)
from imagen.ledger.store.outgoing_tables import imagen_usage
from imagen.services.report.usage_report import sum_usage

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)


def generated(desk: Any, *, cost: Cost | None = None, **changes: Any) -> Any:
    """The delivery claim of a drawn job."""
    desk.submit(**changes)
    claim = desk.must_claim()
    finish = desk.finish_of(claim, cost=cost or Cost(Decimal("0.003"), "list"))
    record_generated(desk.ledger, claim, finish, durable=False)
    [delivery] = claim_deliveries(desk.ledger, desk.claimant(), host="here")
    return delivery


def add(ledger: Any, **values: Any) -> None:
    usual = {
        "created_at": MONDAY,
        "backend": "flux",
        "model": "schnell",
        "prompt_hash": "h",
        "latency_ms": 100,
        "cost_usd_estimate": Decimal("0.5"),
        "caller": "kim",
        "attempt_id": uuid4(),
    }
    with ledger.write() as connection:
        connection.execute(insert(imagen_usage).values(usual | values))


def all_rows(ledger: Any) -> list[Any]:
    return list(read_usage(ledger, since=None, until=None))


def test_a_row_says_who_drew_what_with_what_for_how_much_and_not_the_prompt(desk: Any) -> None:
    styled = desk.request(prompt="my secret wish", styled_prompt="my secret wish, in oil")
    claim = generated(desk, request=styled)

    record_usage(desk.ledger, [claim], also_send=False)

    [row] = all_rows(desk.ledger)
    assert (row.backend, row.model, row.seed, row.caller) == ("mock", "landscape", 7, "tests")
    assert (row.cost_usd, row.latency_ms) == (Decimal("0.003"), 12)
    assert row.prompt_hash == hash_prompt("my secret wish")
    assert row.attempt_id == claim.attempt.id
    with desk.ledger.read() as connection:
        assert "secret" not in str(connection.execute(select(imagen_usage)).all())


def test_an_attempt_is_recorded_once_however_often_it_is_delivered(desk: Any) -> None:
    claim = generated(desk)

    for _ in range(2):
        record_usage(desk.ledger, [claim], also_send=True)

    assert len(all_rows(desk.ledger)) == 1
    assert count_pending(desk.ledger) == {"usage": 1}


def test_an_unknown_price_is_unknown_and_not_nothing(desk: Any) -> None:
    record_usage(desk.ledger, [generated(desk, cost=UNKNOWN_COST)], also_send=False)

    [row] = all_rows(desk.ledger)
    assert row.cost_usd is None


def test_rows_of_a_span_come_oldest_first_without_its_end(desk: Any) -> None:
    for days in (2, 0, 1):
        add(desk.ledger, created_at=MONDAY + timedelta(days=days), seed=days)

    found = read_usage(desk.ledger, since=MONDAY, until=MONDAY + timedelta(days=2))

    assert [row.seed for row in found] == [0, 1]


def test_what_is_not_known_to_have_arrived_counts_as_unsent(desk: Any) -> None:
    sent, waiting, kept = (generated(desk) for _ in range(3))
    record_usage(desk.ledger, [sent], also_send=True)
    [item] = claim_outgoing(desk.ledger, "one", limit=9)
    record_sent(desk.ledger, item)
    record_usage(desk.ledger, [waiting], also_send=True)
    record_usage(desk.ledger, [kept], also_send=False)

    unsent = read_unsent_usage(desk.ledger, since=None, until=None)

    assert [row.attempt_id for row in unsent] == [waiting.attempt.id, kept.attempt.id]


@pytest.mark.parametrize(
    ("moment", "week"),
    [
        (datetime(2026, 11, 15, 23, 59, tzinfo=UTC), "2026-W46"),
        (datetime(2026, 11, 16, tzinfo=UTC), "2026-W47"),
        (datetime(2027, 1, 1, tzinfo=UTC), "2026-W53"),
    ],
)
def test_weeks_are_iso_weeks(moment: datetime, week: str) -> None:
    assert iso_week(moment) == week


@pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
def test_postgresql_sums_as_this_program_does(ledger: Any) -> None:
    days = [datetime(2026, 12, 31, 23, tzinfo=UTC), datetime(2027, 1, 4, tzinfo=UTC), MONDAY]
    for number in range(40):
        add(
            ledger,
            created_at=days[number % 3] + timedelta(hours=number % 2),
            backend=f"b{number % 2}",
            model=[None, "m"][number % 2],
            latency_ms=None if number % 7 == 0 else number * 10,
            cost_usd_estimate=None if number % 5 == 0 else Decimal(number) / 1000,
            caller=["kim", "lee", "Ann"][number % 3],
        )
    for by in ((), ("week",), ("week", "backend", "model", "caller"), ("caller",)):
        *groups, total = sum_in_database(ledger, by=by, since=None, until=None)

        report = sum_usage(read_usage(ledger, since=None, until=None), by=by)
        assert total == report.total
        assert sorted(groups, key=lambda each: each.key) == report.groups


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
    everything = and_(*in_span(None, None))
    statement = _sums_of_groups(("week", "backend", "model", "caller"), everything)

    sql = str(statement.compile(ledger.engine, compile_kwargs={"literal_binds": True}))
    with ledger.read() as connection:
        [plan] = connection.execute(text(f"EXPLAIN (FORMAT json) {sql}")).scalar_one()

    # Ten weeks in all. Without the statistics it counts on a group for each row.
    assert plan["Plan"]["Plan Rows"] < 50
