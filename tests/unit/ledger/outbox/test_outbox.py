"""The outbox: items wait, are held by one at a time, and are there until they arrived."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from imagen.domain.job import Claim
from imagen.domain.scope import EVERYTHING, Scope
from imagen.ledger.jobs.delivery import Delivered, claim_deliveries, record_succeeded
from imagen.ledger.outbox.backlog import backlog, count_paid_here_only, put_kept_usage_in_outbox
from imagen.ledger.outbox.outbox import (
    claim_outgoing,
    count_pending,
    count_untried,
    give_back_items,
    give_back_outgoing,
    hosts_to_send,
    outgoing_owners,
    put_in_outbox,
    put_off,
    record_sent,
)
from imagen.ledger.queries.usage_rows import record_usage
from imagen.ledger.store.outgoing_tables import CLOUD_SINK, USAGE_SINK, outbox
from imagen.ledger.store.tables import attempts
from imagen.ledger.store.types import now_plus


def deliver(desk: Any, *, usage: bool = True, cloud: bool = True, **changes: Any) -> UUID:
    """A delivered job with its items."""
    job_id: UUID = desk.generated(**changes)
    host = changes.get("delivery_host", "here")
    [claim] = claim_deliveries(desk.ledger, desk.claimant(), host=host)
    record_usage(desk.ledger, [claim], also_send=usage)
    record_succeeded(desk.ledger, [Delivered(claim, "/x.png", "0" * 64, "k", goes_to_cloud=cloud)])
    return job_id


def take(desk: Any, owner: str = "one", **how: Any) -> list[Any]:
    return claim_outgoing(desk.ledger, owner, limit=how.pop("limit", 100), **how)


def expire(desk: Any) -> None:
    with desk.ledger.write() as connection:
        connection.execute(update(outbox).values(lease_expires_at=now_plus(-1)))


def test_a_delivery_leaves_an_item_for_each_sink(desk: Any) -> None:
    job_id = deliver(desk)

    items = take(desk)

    assert [item.sink for item in items] == [USAGE_SINK, CLOUD_SINK]
    assert {item.job.id for item in items} == {job_id}
    assert all(item.attempt.job_id == job_id for item in items)


def test_an_item_is_held_by_one_at_a_time(desk: Any) -> None:
    deliver(desk)
    take(desk, "one")

    assert take(desk, "two") == []
    assert outgoing_owners(desk.ledger) == {"one"}
    expire(desk)
    assert len(take(desk, "two")) == 2


def test_the_oldest_go_first_and_what_was_seen_is_not_seen_again(desk: Any) -> None:
    ids = [deliver(desk, usage=False) for _ in range(3)]

    first = take(desk, limit=2)
    give_back_items(desk.ledger, first, "one")
    rest = take(desk, limit=2, after=first[-1].sort_key)

    assert [item.job.id for item in [*first, *rest]] == ids


def test_an_item_that_was_put_off_waits_unless_it_is_wanted_now(desk: Any) -> None:
    deliver(desk, cloud=False)
    [item] = take(desk)

    put_off(desk.ledger, item, "one", wait_s=60, reason="it rains")

    assert take(desk) == []
    assert hosts_to_send(desk.ledger) == []
    [again] = take(desk, now=True)
    assert again.tries == 1


def test_what_arrived_is_not_sent_again(desk: Any) -> None:
    deliver(desk, cloud=False)
    [item] = take(desk)

    record_sent(desk.ledger, item)

    assert take(desk, now=True) == []
    assert count_pending(desk.ledger) == {}
    with desk.ledger.read() as connection:
        row = connection.execute(select(outbox)).one()
    assert (row.tries, row.lease_owner, row.last_error) == (1, None, None)


def test_who_lost_a_item_does_not_put_it_off(desk: Any) -> None:
    deliver(desk, cloud=False)
    [item] = take(desk, "slow")
    expire(desk)
    take(desk, "quick")

    put_off(desk.ledger, item, "slow", wait_s=3600, reason="late")

    assert outgoing_owners(desk.ledger) == {"quick"}


def test_who_leaves_gives_everything_back_but_nothing_of_others(desk: Any) -> None:
    deliver(desk)
    take(desk, "one", limit=1)
    take(desk, "two", limit=1)

    give_back_outgoing(desk.ledger, ["one"])

    assert len(take(desk, "three")) == 1


def test_the_same_item_is_put_in_once(desk: Any) -> None:
    deliver(desk)
    [item, _] = take(desk)
    with desk.ledger.write() as connection:
        again = [Claim(item.job, item.attempt, "two")]
        put_in_outbox(desk.ledger, connection, again, sink=USAGE_SINK)

    assert count_pending(desk.ledger) == {USAGE_SINK: 1, CLOUD_SINK: 1}


def test_a_scope_takes_only_its_own(desk: Any) -> None:
    mine, other = deliver(desk), deliver(desk)

    scope = Scope(job_ids=(mine,))
    assert {item.job.id for item in take(desk, scope=scope)} == {mine}
    assert count_untried(desk.ledger, scope) == 2
    assert {item.job.id for item in take(desk)} == {other}


def test_more_items_than_a_statement_takes_parameters_are_no_trouble(desk: Any) -> None:
    ids = tuple(deliver(desk, cloud=False) for _ in range(5))
    place = None
    seen = []
    while found := take(desk, limit=1, now=True, after=place):
        place = found[-1].sort_key
        seen += [item.job.id for item in found]
        put_off(desk.ledger, found[0], "one", wait_s=0, reason="no")

    assert tuple(seen) == ids


def test_hosts_with_something_due_are_named(desk: Any) -> None:
    deliver(desk)
    deliver(desk, delivery_host="there")

    assert sorted(hosts_to_send(desk.ledger)) == ["here", "there"]


def test_the_backlog_tells_reasons_by_how_frequent_they_are(desk: Any) -> None:
    for _ in range(3):
        deliver(desk, cloud=False)
    first, *others = take(desk)
    put_off(desk.ledger, first, "one", wait_s=9, reason="a storm")
    put_off(desk.ledger, others[0], "one", wait_s=9, reason="rain")
    put_off(desk.ledger, others[1], "one", wait_s=9, reason="rain")

    found = backlog(desk.ledger)

    assert [(each.number, each.why, each.held) for each in found] == [
        (2, "rain", 0),
        (1, "a storm", 0),
    ]
    assert len(backlog(desk.ledger, limit=1)) == 1


def test_the_backlog_tells_what_is_being_sent(desk: Any) -> None:
    deliver(desk, cloud=False)
    take(desk)

    [each] = backlog(desk.ledger)

    assert (each.why, each.held) == ("", 1)


@pytest.mark.parametrize(("cost", "number"), [(None, 1), (0, 0), (2, 1)])
def test_a_paid_image_nobody_else_knows_of_is_counted(
    desk: Any, cost: int | None, number: int
) -> None:
    job_id = deliver(desk, usage=False)
    with desk.ledger.write() as connection:
        connection.execute(update(attempts).values(cost_usd=cost))

    assert count_paid_here_only(desk.ledger, Scope(job_ids=(job_id,))) == number
    put_kept_usage_in_outbox(desk.ledger)
    assert count_paid_here_only(desk.ledger, EVERYTHING) == 0


def test_usage_that_was_kept_goes_out_once(desk: Any) -> None:
    for _ in range(2):
        deliver(desk, usage=False, cloud=False)
    deliver(desk, usage=True, cloud=False)

    assert put_kept_usage_in_outbox(desk.ledger) == 2
    assert put_kept_usage_in_outbox(desk.ledger) == 0
    assert count_pending(desk.ledger) == {USAGE_SINK: 3}
