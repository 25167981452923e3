"""Those who draw do not wait for Redis, and their wake-ups are gathered."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from imagen.queue.doorbell import DoorbellPublisher


def wait_until(claim: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not claim():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.fixture
def doorbell(publisher):
    return DoorbellPublisher(
        publisher.app, publisher.client, publisher.broker_url, publisher.ledger_id
    )


def test_every_host_is_woken_however_often_it_is_rung_for(doorbell, mailbox):
    for _ in range(200):
        doorbell.wake_results("here")
        doorbell.wake_results("there")

    wait_until(lambda: bool(mailbox.ids("results.here") and mailbox.ids("results.there")))
    assert len(mailbox.ids("results.here")) == 1


def test_an_image_that_is_generated_after_a_drain_began_is_rung_for_again(doorbell, mailbox):
    doorbell.wake_results("here")
    wait_until(lambda: len(mailbox.ids("results.here")) == 1)

    # As a drain does first of all.
    mailbox.client.flushall()
    doorbell.wake_results("here")

    wait_until(lambda: len(mailbox.ids("results.here")) == 1)


def test_a_redis_that_is_away_does_not_end_the_bell(deaf_publisher, publisher, mailbox):
    doorbell = DoorbellPublisher(
        deaf_publisher.app, deaf_publisher.client, deaf_publisher.broker_url, publisher.ledger_id
    )
    doorbell.wake_results("here")
    time.sleep(0.2)

    doorbell.app, doorbell.client = publisher.app, publisher.client
    doorbell.wake_results("here")

    wait_until(lambda: len(mailbox.ids("results.here")) == 1)
