"""How a results worker works off what waits: in drains, and never in one task for ever."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from uuid_utils.compat import uuid7

from imagen.domain.job import JobState
from imagen.queue.worker import host_drains
from imagen.queue.worker.host_drains import DeliveryDrain
from imagen.services.deliver.host_delivery import HostDelivery
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.leases.lease_holder import LeaseHolder


@dataclass
class Deliveries:
    """Stands in for the service: so many images wait for each drain, then none."""

    waiting: list[int]
    publisher: Any
    drains: list[int] = field(default_factory=list)

    def deliver_next(self, _claimant: Any, *, host: str) -> list[ClaimOutcome]:
        assert host == "here"
        number = self.waiting.pop(0) if self.waiting else 0
        self.drains.append(number)
        return [ClaimOutcome(uuid7(), JobState.SUCCEEDED) for _ in range(number)]


@pytest.fixture
def make_drain(publisher):
    def make(waiting: list[int]) -> DeliveryDrain:
        service = cast("Any", Deliveries(waiting, publisher))
        delivery = HostDelivery(service, LeaseHolder("here:1:a", "here", 30.0))
        return DeliveryDrain(delivery, publisher, publisher.client, threading.Event())

    return make


def test_it_drains_until_nothing_waits(make_drain):
    drain = make_drain([64, 64, 3])

    assert len(drain.deliver_all()) == 131
    assert drain.delivery.delivery.drains == [64, 64, 3, 0]


@pytest.mark.parametrize(("waiting", "waits"), [([1], 0), ([1, 1], 1), ([64, 64, 5], 1)])
def test_only_in_a_stream_of_small_drains_images_are_left_to_gather(
    make_drain, monkeypatch, waiting, waits
):
    drain = make_drain(waiting)
    waited: list[float] = []
    monkeypatch.setattr(drain.stopping, "wait", waited.append)

    drain.deliver_all()

    assert len(waited) == waits


def test_a_task_ends_after_so_many_and_wakes_the_next(make_drain, mailbox, monkeypatch):
    monkeypatch.setattr(host_drains, "_MOST_DELIVERIES", 100)
    drain = make_drain([64] * 10)

    assert len(drain.deliver_all()) == 128
    assert len(mailbox.ids("results.here")) == 1


def test_a_task_that_found_the_end_wakes_nobody(make_drain, mailbox):
    make_drain([64, 64]).deliver_all()

    assert mailbox.ids("results.here") == []
