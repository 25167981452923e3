"""Which of a worker's queues its Celery consumer takes messages from."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger(__name__)


@dataclass
class Consumption:
    """Starts and stops the consuming of single queues. Threads share it.

    ``consumer`` is Celery's ``celery.worker.consumer.Consumer``, which may be used in the thread of
    its event loop only. What is set here outlives a lost connection: Celery consumes what
    ``app.amqp.queues`` has selected when it connects again (observed on 5.7).
    """

    consumer: Any
    queues: Sequence[str]
    _wanted: frozenset[str] = field(default_factory=frozenset)

    def limit_to(self, wanted: Collection[str]) -> None:
        """Consume these of the queues only, soon; of two calls the later one holds."""
        self._wanted = frozenset(wanted)
        # kombu keeps what is to be called in a set: two calls may come in either order, so each
        # one applies the newest wish. Observed on kombu 5.7.0.
        self.consumer.call_soon(self._apply)

    def _apply(self) -> None:
        wanted = self._wanted
        for queue in self.queues:
            if queue in wanted:
                self._add(queue)
            else:
                self._cancel(queue)

    def _add(self, queue: str) -> None:
        selected = self.consumer.app.amqp.queues
        if self.consumer.task_consumer is None:
            selected.select_add(selected[queue])
        elif not self.consumer.task_consumer.consuming_from(queue):
            self.consumer.add_task_queue(queue)

    def _cancel(self, queue: str) -> None:
        if self.consumer.task_consumer is None:
            self.consumer.app.amqp.queues.deselect(queue)
        elif self.consumer.task_consumer.consuming_from(queue):
            # A message that is being fetched at this moment goes back to the queue.
            self.consumer.cancel_task_queue(queue)
