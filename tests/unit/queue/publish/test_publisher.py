"""Wake-ups and events, as they stand in a real Redis."""

from __future__ import annotations

import json

import pytest
from uuid_utils.compat import uuid7

from imagen.domain.job import Job, JobState, Lane, Output, Wakeup
from imagen.domain.request import ImageRequest
from imagen.errors import BrokerUnavailable
from imagen.queue.broker.routing import drain_key, events_channel, results_queue

SECRET = "a prompt nobody else should read, by far longer than any label"


def a_job(lane: Lane = Lane.INTERACTIVE) -> Job:
    from datetime import UTC, datetime

    return Job(
        id=uuid7(),
        state=JobState.RUNNING,
        request=ImageRequest(SECRET, SECRET, 64, 64, 7),
        output=Output("/somewhere", "fox.png"),
        backend="mock",
        queue="gpu",
        lane=lane,
        caller="tests",
        delivery_host="studio",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def wakeups(number: int) -> list[Wakeup]:
    return [Wakeup(uuid7(), f"mock 64x64 fox-{index}") for index in range(number)]


def test_a_wakeup_is_named_by_its_job_and_carries_the_ledgers_id(publisher, mailbox):
    [wakeup] = wakeups(1)

    publisher.wake_workers("gpu", [wakeup])

    [message] = mailbox.messages("gpu")
    assert message["headers"]["id"] == str(wakeup.job_id)
    assert message["headers"]["imagen_ledger"] == str(publisher.ledger_id)
    assert message["headers"]["argsrepr"] == "(mock 64x64 fox-0)"


def test_many_wakeups_stand_in_the_order_they_were_sent(publisher, mailbox):
    sent = wakeups(2500)

    publisher.wake_workers("gpu", sent)

    assert mailbox.ids("gpu") == [str(wakeup.job_id) for wakeup in sent]


def test_wakeups_of_one_queue_are_not_seen_in_another(publisher, mailbox):
    publisher.wake_workers("gpu", wakeups(2))
    publisher.wake_workers("cloud", wakeups(3))

    assert (len(mailbox.ids("gpu")), len(mailbox.ids("cloud"))) == (2, 3)


def test_one_delivery_wakeup_is_under_way_for_all_that_wait(publisher, mailbox):
    for _ in range(100):
        publisher.wake_results("studio")

    assert len(mailbox.messages(results_queue("studio"))) == 1


def test_a_lost_delivery_wakeup_holds_others_back_for_two_seconds_at_most(publisher, mailbox):
    publisher.wake_results("studio")

    assert 0 < mailbox.client.pttl(drain_key("studio")) <= 2000


def test_a_host_that_is_switched_off_piles_up_no_wakeups(publisher, mailbox):
    for _ in range(200):
        mailbox.client.delete(drain_key("studio"))
        publisher.wake_results("studio")

    assert len(mailbox.messages(results_queue("studio"))) == 10


def test_workers_are_not_woken_while_redis_is_away_and_the_caller_is_told(deaf_publisher):
    with pytest.raises(BrokerUnavailable) as away:
        deaf_publisher.wake_workers("gpu", wakeups(1))

    assert "test-password" not in str(away.value)


def test_many_wakeups_that_cannot_be_sent_are_one_error(deaf_publisher):
    with pytest.raises(BrokerUnavailable):
        deaf_publisher.wake_workers("gpu", wakeups(20))


def test_nobody_who_draws_is_stopped_by_a_redis_that_is_away(deaf_publisher):
    deaf_publisher.wake_results("studio")
    deaf_publisher.announce(a_job(), {"event": "running"})


def test_an_event_reaches_who_listens_to_that_job(publisher, mailbox):
    job = a_job()
    with mailbox.client.pubsub() as ears:
        ears.subscribe(events_channel(job.id))
        ears.get_message(timeout=5)

        publisher.announce(job, {"event": "progress", "done": 1, "total": 4})
        heard = ears.get_message(timeout=5)

    assert json.loads(heard["data"]) == {"event": "progress", "done": 1, "total": 4}


def test_bulk_jobs_are_not_announced_one_by_one(publisher, mailbox):
    job = a_job(Lane.BULK)
    with mailbox.client.pubsub() as ears:
        ears.subscribe(events_channel(job.id))
        ears.get_message(timeout=5)

        publisher.announce(job, {"event": "running"})
        publisher.announce(a_job(), {"event": "running"})
        heard = ears.get_message(timeout=0.05)

    assert heard is None
