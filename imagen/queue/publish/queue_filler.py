"""Keeps enough wake-ups in Redis: messages waiting >= min(claimable jobs, window).

This one rule covers lost messages, a flushed Redis, bulk runs and retries that have come due. An
extra message is a no-op. A job whose backend no live worker can reach does not count: no worker
would consume its message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import redis

from imagen.ledger.jobs.worker_rows import live_workers, unreachable_backends
from imagen.ledger.outbox.outbox import hosts_to_send
from imagen.ledger.queries.waiting_jobs import (
    count_waiting,
    hosts_to_deliver,
    waiting_jobs,
    waiting_queues,
)
from imagen.ledger.store.engine import Ledger
from imagen.queue.broker.connection import unavailable
from imagen.queue.broker.routing import queue_key
from imagen.queue.publish.publisher import CeleryPublisher
from imagen.services.submit.wakeups import wakeup_for


@dataclass(frozen=True)
class QueueFiller:
    """Tops every queue up to what waits in the ledger."""

    ledger: Ledger
    publisher: CeleryPublisher
    #: The most messages that this keeps waiting in one queue.
    window: int
    #: A worker that has not reported for so long counts as dead.
    lease_s: float = 30.0

    def top_up(self) -> int:
        """Send the wake-ups that are missing; says how many of them to draw.

        Raises:
            BrokerUnavailable: Redis is away; the jobs wait.
            LedgerUnavailable: the ledger is away.
        """
        workers = live_workers(self.ledger, within_s=self.lease_s)
        without = tuple(sorted(unreachable_backends(workers)))
        sent = sum(self._top_up(queue, without) for queue in waiting_queues(self.ledger))
        for host in hosts_to_deliver(self.ledger):
            self.publisher.wake_results(host)
        for host in hosts_to_send(self.ledger):
            self.publisher.wake_outbox(host)
        return sent

    def _top_up(self, queue: str, without: Sequence[str]) -> int:
        claimable = count_waiting(self.ledger, queue, most=self.window, without=without)
        waiting = self._length(queue)
        if waiting >= claimable:
            return 0
        # The first jobs probably have their messages: a queue is first in, first out.
        missing = claimable - waiting
        jobs = waiting_jobs(self.ledger, queue, skip=waiting, limit=missing, without=without)
        if jobs:
            self.publisher.wake_workers(queue, [wakeup_for(job) for job in jobs])
        return len(jobs)

    def _length(self, queue: str) -> int:
        try:
            return int(self.publisher.client.llen(queue_key(queue)))
        except redis.RedisError as error:
            raise unavailable(self.publisher.broker_url, error) from error
