"""Threads that draw do not wait for Redis, and their wake-ups are gathered."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from imagen.queue.publish.coalescing_publisher import CoalescingPublisher
from imagen.queue.publish.publisher import CeleryPublisher
from tests.waiting import wait_until


@pytest.fixture
def coalescing(publisher):
    return CoalescingPublisher(publisher)


def is_woken(mailbox):
    return lambda: len(mailbox.ids("results.here")) == 1


def test_every_host_is_woken(coalescing, mailbox):
    coalescing.wake_results("here")
    coalescing.wake_results("there")

    wait_until(is_woken(mailbox), what="here is woken")
    wait_until(lambda: len(mailbox.ids("results.there")) == 1, what="so is there")


def test_all_that_is_rung_for_meanwhile_is_one_wake_up(coalescing, monkeypatch):
    woken: Counter[str] = Counter()
    may_go_on = threading.Event()

    def wake(_publisher: CeleryPublisher, host: str) -> None:
        woken[host] += 1
        assert may_go_on.wait(10)

    monkeypatch.setattr(CeleryPublisher, "wake_results", wake)
    coalescing.wake_results("here")
    wait_until(lambda: woken["here"] == 1, what="the first one is being sent")

    for _ in range(200):
        coalescing.wake_results("here")
    coalescing.wake_results("the last")
    may_go_on.set()

    wait_until(lambda: woken["the last"] == 1, what="all are sent")
    wait_until(lambda: woken["here"] == 2, what="all are sent")


def test_an_image_that_is_generated_after_a_drain_began_is_rung_for_again(coalescing, mailbox):
    coalescing.wake_results("here")
    wait_until(is_woken(mailbox), what="here is woken")

    # As a drain does first of all.
    mailbox.client.flushall()
    coalescing.wake_results("here")

    wait_until(is_woken(mailbox), what="here is woken again")


def test_a_redis_that_is_away_ends_no_later_wake_up(deaf_publisher, publisher, mailbox):
    coalescing = CoalescingPublisher(deaf_publisher)
    coalescing.wake_results("here")
    time.sleep(0.2)

    coalescing.inner = publisher
    coalescing.wake_results("here")

    wait_until(is_woken(mailbox), what="here is woken again")
