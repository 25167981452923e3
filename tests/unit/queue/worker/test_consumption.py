"""A worker consumes the queues that it was told last."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.asynchronous.hub import Hub

from imagen.queue.worker.consumption import Consumption


class TaskConsumer:
    """What Celery's consumer offers, with kombu's own event loop to call it from."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.consumed: set[str] = {"gpu"}
        self.app = SimpleNamespace(amqp=SimpleNamespace(queues={}))
        self.task_consumer = SimpleNamespace(consuming_from=self.consumed.__contains__)

    def call_soon(self, call: Any, *args: Any) -> None:
        self.hub.call_soon(partial(call, *args))

    def add_task_queue(self, queue: str) -> None:
        self.consumed.add(queue)

    def cancel_task_queue(self, queue: str) -> None:
        self.consumed.discard(queue)

    def turn_the_loop(self) -> None:
        for call in self.hub._pop_ready():
            call()


# kombu calls what waits in the order of a set, which differs from one try to the next.
@pytest.mark.parametrize("number", range(20))
@pytest.mark.parametrize("last", [[], ["gpu"]])
def test_of_two_changes_in_one_turn_of_the_loop_the_later_one_holds(
    number: int, last: list[str]
) -> None:
    consumer = TaskConsumer()
    consumption = Consumption(consumer, ["gpu"])

    for wanted in ([] if last else ["gpu"], last):
        consumption.limit_to(wanted)
    consumer.turn_the_loop()

    assert consumer.consumed == set(last)
