"""How a results worker works off what waits: in drains, and never in one task for ever."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from uuid_utils.compat import uuid7

from imagen.domain.job import JobState
from imagen.queue.worker import worker as worker_module
from imagen.queue.worker.worker import QueueWorker
from imagen.services.draw.claim_outcome import ClaimOutcome


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
def make_worker(publisher, tmp_path: Path):
    def make(waiting: list[int]) -> QueueWorker:
        nothing: Any = None
        return QueueWorker(
            role="results",
            host="here",
            owner="here:1:a",
            queues=[],
            backends=[],
            ledger=nothing,
            ledger_id=publisher.ledger_id,
            drawing=nothing,
            delivery=cast("Any", Deliveries(waiting, publisher)),
            heartbeat=nothing,
            clock=nothing,
            client=publisher.client,
            publisher=publisher,
            presence_folder=tmp_path,
            lease_s=30.0,
            grace_s=1.0,
            max_artifact_bytes=1,
        )

    return make


def test_it_drains_until_nothing_waits(make_worker):
    worker = make_worker([64, 64, 3])

    assert len(worker.deliver_all()) == 131
    assert worker.delivery.drains == [64, 64, 3, 0]


@pytest.mark.parametrize(("waiting", "waits"), [([1], 0), ([1, 1], 1), ([64, 64, 5], 1)])
def test_only_in_a_stream_of_small_drains_images_are_left_to_gather(
    make_worker, monkeypatch, waiting, waits
):
    worker = make_worker(waiting)
    waited: list[float] = []
    monkeypatch.setattr(worker._stopping, "wait", waited.append)

    worker.deliver_all()

    assert len(waited) == waits


def test_a_task_ends_after_so_many_and_wakes_the_next(make_worker, mailbox, monkeypatch):
    monkeypatch.setattr(worker_module, "_MOST_DELIVERIES", 100)
    worker = make_worker([64] * 10)

    assert len(worker.deliver_all()) == 128
    assert len(mailbox.ids("results.here")) == 1


def test_a_task_that_found_the_end_wakes_nobody(make_worker, mailbox):
    make_worker([64, 64]).deliver_all()

    assert mailbox.ids("results.here") == []
