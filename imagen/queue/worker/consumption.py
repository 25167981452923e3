"""Which of a worker's queues its Celery consumer takes messages from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imagen.ledger.queries.waiting_jobs import any_waiting
from imagen.ledger.store.engine import Ledger
from imagen.services.draw.circuit import Circuits


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
        """Consume only these of the queues, soon; of two calls the later one counts."""
        self._wanted = frozenset(wanted)
        # kombu keeps the functions to be called in a set, so two calls may come in either order:
        # each applies the newest choice. Observed on kombu 5.7.0.
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


@dataclass
class ReachableQueues:
    """Has a worker consume those of its queues that are of use to it. Threads share it."""

    names: Sequence[str]
    #: The queue of each backend that the worker serves.
    queue_of: Mapping[str, str]
    circuits: Circuits
    ledger: Ledger
    #: Consumes these queues only, from now on; set once the program consumes at all.
    consume: Callable[[Collection[str]], None] | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def consume_reachable(self) -> None:
        """While a circuit is open: consume only queues with a job for a backend within reach.

        The wake-ups of the others are left to workers that can reach the backends.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        if self.consume is None:
            return
        # One at a time: a choice that was made before a circuit closed must not be applied last.
        with self._turn:
            self.consume([queue for queue in self.names if self._is_of_use(queue)])

    def _is_of_use(self, queue: str) -> bool:
        left_out = self.circuits.open_names
        if not left_out:
            return True
        served = [name for name, of_queue in self.queue_of.items() if of_queue == queue]
        reachable = [name for name in served if name not in left_out]
        return len(reachable) == len(served) or any_waiting(self.ledger, queue, reachable)
