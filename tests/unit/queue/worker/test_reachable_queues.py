"""Which queues a worker consumes while it cannot reach some of its backends."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest

from imagen.ledger.jobs.pauses import pause_backend
from imagen.queue.worker.consumption import ReachableQueues
from imagen.queue.worker.wakeup_drawing import WakeupDrawing
from imagen.services.leases.lease_holder import LeaseHolder


def _circuits(left_out: Sequence[str]) -> Any:
    return SimpleNamespace(open_names=tuple(left_out))


@pytest.fixture
def make_queues(sqlite_desk):
    def make(*left_out: str) -> tuple[ReachableQueues, list[list[str]]]:
        consumed: list[list[str]] = []
        queues = ReachableQueues(
            ["gpu", "big"],
            {"mock": "gpu", "other": "gpu", "large": "big"},
            _circuits(left_out),
            sqlite_desk.ledger,
            consume=lambda queues: consumed.append(list(queues)),
        )
        queues.consume_reachable()
        return queues, consumed

    return make


@pytest.fixture
def make_drawing(publisher):
    def make(*left_out: str) -> WakeupDrawing:
        nothing: Any = None
        service = cast("Any", SimpleNamespace(circuits=_circuits(left_out)))
        holder = LeaseHolder("here:1:a", "here", 30.0)
        return WakeupDrawing(service, holder, ["gpu"], [], publisher, nothing, 1, Event())

    return make


def test_it_consumes_every_queue_while_every_backend_can_be_reached(make_queues):
    _, consumed = make_queues()

    assert consumed == [["gpu", "big"]]


def test_it_leaves_a_queue_alone_whose_backends_are_all_away(make_queues):
    _, consumed = make_queues("mock", "other")

    assert consumed == [["big"]]


def test_it_leaves_a_queue_alone_in_which_nothing_waits_that_it_can_reach(make_queues, sqlite_desk):
    sqlite_desk.submit(backend="mock")
    queues, consumed = make_queues("mock")
    assert consumed == [["big"]]

    sqlite_desk.submit(backend="other")
    queues.consume_reachable()
    pause_backend(sqlite_desk.ledger, "other", reason="by hand", pause_s=None)
    queues.consume_reachable()

    assert consumed[1:] == [["gpu", "big"], ["big"]]


def test_it_sends_wakeups_on_only_while_it_leaves_a_backend_out(make_drawing, mailbox):
    drawing = make_drawing("mock")
    assert drawing.leaves_backends_out

    drawing.pass_on("gpu", "01900000-0000-7000-8000-00000000000b", "mock 64x64 fox")

    [message] = mailbox.messages("gpu")
    assert message["headers"]["imagen_passed_on"]
    assert message["headers"]["id"] == "01900000-0000-7000-8000-00000000000b"
    drawing = make_drawing()
    assert not drawing.leaves_backends_out
