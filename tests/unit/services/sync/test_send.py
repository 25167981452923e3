"""Emptying the outbox: once each, on with the next one, and never without a word why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from imagen.domain.scope import Scope
from imagen.errors import ArtifactLost, CloudError, ConfigError, LedgerUnavailable
from imagen.images.broken import BrokenImage
from imagen.ledger.jobs.delivery import Delivered, claim_deliveries, record_succeeded
from imagen.ledger.outbox.backlog import backlog
from imagen.ledger.outbox.outbox import count_pending, outgoing_owners
from imagen.ledger.queries.usage_rows import record_usage
from imagen.ledger.store.outgoing_tables import CLOUD_SINK, USAGE_SINK
from imagen.services.sync.send import OutboxSender


class Post:
    """A sink that raises what it is told to, by turns, and remembers what came."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.errors = list(errors)
        self.seen: list[UUID] = []
        self.on_send: Callable[[], None] = lambda: None

    def send(self, outgoing: Any) -> None:
        self.seen.append(outgoing.job.id)
        self.on_send()
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error


@pytest.fixture
def desk(sqlite_desk: Any) -> Any:
    return sqlite_desk


def deliver(desk: Any, number: int = 1, *, cloud: bool = False) -> list[UUID]:
    """Delivered jobs with a usage item each, or one for the cloud."""
    ids = []
    for _ in range(number):
        ids.append(desk.generated())
        [claim] = claim_deliveries(desk.ledger, desk.claimant(), host="here")
        record_usage(desk.ledger, [claim], also_send=not cloud)
        done = Delivered(claim, "/x.png", "0" * 64, "k", goes_to_cloud=cloud)
        record_succeeded(desk.ledger, [done])
    return ids


def make(desk: Any, *, usage: Any = None, cloud: Any = None, **changes: Any) -> OutboxSender:
    sinks = {USAGE_SINK: usage, CLOUD_SINK: cloud}
    there = {name: sink for name, sink in sinks.items() if sink is not None}
    return OutboxSender(desk.ledger, "one", there, **changes)


def test_everything_is_sent_once(desk: Any) -> None:
    ids = deliver(desk, 40)
    post = Post()

    report = make(desk, usage=post).drain()

    assert (report.sent, report.failed, post.seen) == (40, 0, ids)
    assert count_pending(desk.ledger) == {}
    assert outgoing_owners(desk.ledger) == set()


def test_one_refusal_of_one_row_lets_the_others_go(desk: Any) -> None:
    deliver(desk, 3)
    post = Post(CloudError("too large", "", False, True))

    report = make(desk, usage=post).drain(now=True)

    assert (report.sent, report.failed) == (2, 1)
    assert report.reasons == {USAGE_SINK: "too large"}
    assert len(post.seen) == 3


def test_a_sink_that_is_away_is_asked_once_a_round(desk: Any) -> None:
    deliver(desk, 5)
    post = Post(*[CloudError("away", "look", True)] * 5)

    report = make(desk, usage=post).drain()

    assert (report.sent, report.failed, len(post.seen)) == (0, 5, 1)
    assert [(each.number, each.why) for each in backlog(desk.ledger)] == [(5, "away (look)")]


def test_a_sink_that_is_away_does_not_keep_the_other(desk: Any) -> None:
    deliver(desk, 1)
    deliver(desk, 1, cloud=True)
    away = Post(CloudError("away", "", True))

    report = make(desk, usage=away, cloud=Post()).drain()

    assert (report.sent, report.failed) == (1, 1)
    assert count_pending(desk.ledger) == {USAGE_SINK: 1}


@pytest.mark.parametrize(
    "error",
    [
        ArtifactLost("its bytes are gone"),
        BrokenImage("its bytes are broken"),
        ConfigError("owner_user_id is none"),
        ZeroDivisionError("oops"),
    ],
)
def test_what_is_wrong_with_one_item_never_keeps_the_others(
    desk: Any, error: BaseException
) -> None:
    deliver(desk, 2)

    report = make(desk, usage=Post(error)).drain()

    assert (report.sent, report.failed) == (1, 1)
    assert report.reasons[USAGE_SINK]


def test_a_bug_is_told_without_what_the_error_says(desk: Any) -> None:
    deliver(desk)

    report = make(desk, usage=Post(ValueError("my secret wish"))).drain()

    assert "secret" not in report.reasons[USAGE_SINK]
    assert "ValueError" in report.reasons[USAGE_SINK]


def test_the_ledger_away_ends_the_drain(desk: Any) -> None:
    deliver(desk)

    with pytest.raises(LedgerUnavailable):
        make(desk, usage=Post(LedgerUnavailable("gone"))).drain()

    assert count_pending(desk.ledger) == {USAGE_SINK: 1}


def test_what_is_not_configured_says_what_to_set(desk: Any) -> None:
    deliver(desk)

    report = make(desk, missing="set SUPABASE_URL").drain()

    assert report.reasons == {USAGE_SINK: "not configured here; set SUPABASE_URL"}


def test_each_item_is_tried_once_a_drain(desk: Any) -> None:
    deliver(desk, 20)
    post = Post(*[CloudError("too large", "", False, True)] * 100)

    report = make(desk, usage=post).drain(now=True)

    assert (report.failed, len(post.seen)) == (20, 20)


def test_waits_grow_and_end_at_an_hour(desk: Any) -> None:
    from datetime import timedelta

    from sqlalchemy import select

    from imagen.ledger.store.outgoing_tables import outbox

    deliver(desk)
    waits = []
    for _ in range(12):
        make(desk, usage=Post(CloudError("no", "", True))).drain(now=True)
        with desk.ledger.read() as connection:
            row = connection.execute(select(outbox)).one()
        waits.append(row.not_before - row.created_at)

    assert waits == sorted(waits)
    assert timedelta(seconds=4) < waits[0] < timedelta(minutes=1)
    assert timedelta(minutes=59) < waits[-1] < timedelta(minutes=61)


def test_a_drain_that_is_told_to_stop_begins_nothing_more(desk: Any) -> None:
    deliver(desk, 5)
    post = Post()

    report = make(desk, usage=post).drain(should_stop=lambda: len(post.seen) == 2)

    assert report.sent == 2
    assert outgoing_owners(desk.ledger) == set()


def test_a_drain_of_one_job_leaves_the_others(desk: Any) -> None:
    first, _ = deliver(desk, 2)
    post = Post()

    make(desk, usage=post).drain(Scope(job_ids=(first,)))

    assert post.seen == [first]


def test_the_kept_bytes_go_when_the_copy_arrived_and_not_before(desk: Any) -> None:
    deliver(desk, 1, cloud=True)
    make(desk, cloud=Post(CloudError("no", "", True))).drain()
    assert len(desk.artifact_rows()) == 1

    make(desk, cloud=Post()).drain(now=True)

    assert desk.artifact_rows() == []
    assert desk.artifact_files() == []
