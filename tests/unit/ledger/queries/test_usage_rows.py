"""The usage table: a row for each attempt that drew, and never its prompt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from sqlalchemy import insert, select

from imagen.domain.cost import UNKNOWN_COST, Cost
from imagen.domain.prompt import hash_prompt
from imagen.ledger.jobs.delivery import claim_deliveries
from imagen.ledger.jobs.generated import record_generated
from imagen.ledger.outbox.backlog import read_unsent_usage
from imagen.ledger.outbox.outbox import claim_outgoing, count_pending, record_sent
from imagen.ledger.queries.usage_rows import read_usage, record_usage
from imagen.ledger.store.outgoing_tables import imagen_usage

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
