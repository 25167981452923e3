"""Which queues a worker consumes while it cannot reach some of its backends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from imagen.ledger.jobs.pauses import pause_backend
from imagen.queue.worker.worker import QueueWorker


@pytest.fixture
def make_worker(sqlite_desk, publisher, tmp_path):
    def make(*left_out: str) -> tuple[QueueWorker, list[list[str]]]:
        nothing: Any = None
        consumed: list[list[str]] = []
        worker = QueueWorker(
            role="gpu",
            host="here",
            owner="here:1:a",
            queues=["gpu", "big"],
            backends=["mock", "other", "large"],
            queue_of={"mock": "gpu", "other": "gpu", "large": "big"},
            ledger=sqlite_desk.ledger,
            ledger_id=publisher.ledger_id,
            drawing=cast("Any", SimpleNamespace(circuits=SimpleNamespace(open_names=left_out))),
            delivery=nothing,
            heartbeat=nothing,
            clock=nothing,
            client=publisher.client,
            publisher=publisher,
            presence_folder=tmp_path,
            lease_s=30.0,
            grace_s=1.0,
            max_artifact_bytes=1,
            consume=lambda queues: consumed.append(list(queues)),
        )
        worker.consume_reachable()
        return worker, consumed

    return make


def test_it_consumes_every_queue_while_every_backend_can_be_reached(make_worker):
    _, consumed = make_worker()

    assert consumed == [["gpu", "big"]]


def test_it_leaves_a_queue_alone_whose_backends_are_all_away(make_worker):
    _, consumed = make_worker("mock", "other")

    assert consumed == [["big"]]


def test_it_leaves_a_queue_alone_in_which_nothing_waits_that_it_can_reach(make_worker, sqlite_desk):
    sqlite_desk.submit(backend="mock")
    worker, consumed = make_worker("mock")
    assert consumed == [["big"]]

    sqlite_desk.submit(backend="other")
    worker.consume_reachable()
    pause_backend(sqlite_desk.ledger, "other", reason="by hand", pause_s=None)
    worker.consume_reachable()

    assert consumed[1:] == [["gpu", "big"], ["big"]]


def test_it_sends_wakeups_on_only_while_it_leaves_a_backend_out(make_worker, mailbox):
    worker, _ = make_worker("mock")
    assert worker.leaves_backends_out

    worker.pass_on("gpu", "01900000-0000-7000-8000-00000000000b", "mock 64x64 fox")

    [message] = mailbox.messages("gpu")
    assert message["headers"]["imagen_passed_on"]
    assert message["headers"]["id"] == "01900000-0000-7000-8000-00000000000b"
    worker, _ = make_worker()
    assert not worker.leaves_backends_out
