"""One rule feeds the queues: as many wake-ups as may be claimed, but no more than the window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from imagen.domain.job import Lane, Wakeup
from imagen.errors import BrokerUnavailable
from imagen.ledger.jobs.pauses import pause_backend
from imagen.ledger.jobs.worker_rows import OpenCircuit, report_worker
from imagen.queue.broker.routing import queue_key, results_queue
from imagen.queue.publish.queue_filler import QueueFiller


@pytest.fixture
def filler(sqlite_desk, publisher, mailbox) -> QueueFiller:
    return QueueFiller(sqlite_desk.ledger, publisher, window=10)


def test_each_waiting_job_gets_a_wakeup(filler, sqlite_desk, mailbox):
    ids = [str(sqlite_desk.submit()) for _ in range(3)]

    assert filler.top_up() == 3
    assert mailbox.ids("gpu") == ids


def test_no_more_wait_than_the_window(filler, sqlite_desk, mailbox):
    for _ in range(25):
        sqlite_desk.submit()

    assert filler.top_up() == 10
    assert filler.top_up() == 0
    assert len(mailbox.ids("gpu")) == 10


def test_a_lost_wakeup_is_sent_again_although_the_queue_never_runs_dry(
    filler, sqlite_desk, mailbox
):
    for _ in range(5):
        sqlite_desk.submit()
    filler.top_up()

    mailbox.client.rpop(queue_key("gpu"))

    assert filler.top_up() == 1
    assert len(mailbox.ids("gpu")) == 5


def test_a_flushed_redis_is_filled_again(filler, sqlite_desk, mailbox):
    for _ in range(5):
        sqlite_desk.submit()
    filler.top_up()

    mailbox.client.flushdb()

    assert filler.top_up() == 5


def test_wakeups_that_are_there_are_counted_whoever_sent_them(
    filler, sqlite_desk, publisher, mailbox
):
    job_id = sqlite_desk.submit()
    publisher.wake_workers("gpu", [Wakeup(job_id, "mock 64x64 fox")])

    assert filler.top_up() == 0


def test_what_may_not_be_claimed_wakes_nobody(filler, sqlite_desk, mailbox):
    later = sqlite_desk.submit()
    sqlite_desk.set(later, not_before=datetime.now(UTC) + timedelta(minutes=5))
    sqlite_desk.submit(backend="paused")
    pause_backend(sqlite_desk.ledger, "paused", reason="no credit", pause_s=None)

    assert filler.top_up() == 0
    assert mailbox.ids("gpu") == []


def _report(desk, owner, *unreachable):
    circuits = [OpenCircuit(name, datetime.now(UTC), "connection refused") for name in unreachable]
    report_worker(
        desk.ledger,
        owner,
        host=owner,
        role="gpu",
        queues=["gpu"],
        backends=["mock", "other"],
        open_circuits=circuits,
    )


def test_what_no_live_worker_can_reach_wakes_nobody(filler, sqlite_desk, mailbox):
    sqlite_desk.submit()
    other = sqlite_desk.submit(backend="other")
    _report(sqlite_desk, "one", "mock")
    _report(sqlite_desk, "two", "mock")

    assert filler.top_up() == 1
    assert mailbox.ids("gpu") == [str(other)]


def test_what_one_live_worker_can_reach_is_woken_for(filler, sqlite_desk):
    sqlite_desk.submit()
    _report(sqlite_desk, "one", "mock")
    _report(sqlite_desk, "two")

    assert filler.top_up() == 1


def test_each_queue_is_fed_by_itself(filler, sqlite_desk, mailbox):
    for _ in range(12):
        sqlite_desk.submit(queue="gpu")
    sqlite_desk.submit(queue="cloud")

    filler.top_up()

    assert (len(mailbox.ids("gpu")), len(mailbox.ids("cloud"))) == (10, 1)


def test_interactive_jobs_are_woken_first(filler, sqlite_desk, mailbox):
    for _ in range(12):
        sqlite_desk.submit(lane=Lane.BULK)
    urgent = sqlite_desk.submit(lane=Lane.INTERACTIVE)

    filler.top_up()

    assert mailbox.ids("gpu")[0] == str(urgent)


def test_what_waits_for_delivery_wakes_its_host(filler, sqlite_desk, mailbox):
    sqlite_desk.generated(delivery_host="attic")

    filler.top_up()

    assert len(mailbox.messages(results_queue("attic"))) == 1
    assert mailbox.messages(results_queue("studio")) == []


def test_a_redis_that_is_away_is_told(sqlite_desk, deaf_publisher):
    sqlite_desk.submit()
    filler = QueueFiller(sqlite_desk.ledger, deaf_publisher, window=10)

    with pytest.raises(BrokerUnavailable):
        filler.top_up()
