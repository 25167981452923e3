"""Sends wake-ups through Celery and events through Redis pub/sub, always after a commit."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import kombu.exceptions
import redis
from celery import Celery

from imagen.domain.job import Job, Lane, Wakeup
from imagen.queue.broker.connection import unavailable
from imagen.queue.broker.routing import (
    DELIVER_TASK,
    GENERATE_TASK,
    LEDGER_HEADER,
    PASSED_ON_HEADER,
    SYNC_TASK,
    drain_key,
    events_channel,
    outbox_key,
    queue_key,
    results_queue,
)
from imagen.queue.publish.cancel_events import announce_cancel

log = logging.getLogger(__name__)

#: For so long a lost wake-up of a results worker keeps others from being sent.
_DRAIN_KEY_MS = 2000

#: No more wait in the queue of a host: each serves all, and a host may be off for weeks.
_MOST_WAKEUPS = 10

_UNREACHABLE = (kombu.exceptions.OperationalError, redis.RedisError, OSError)


@dataclass
class CeleryPublisher:
    """Implements ``Publisher`` over Celery and Redis. Threads share it."""

    app: Celery
    client: redis.Redis
    broker_url: str
    ledger_id: UUID

    def wake_workers(self, queue: str, wakeups: Sequence[Wakeup]) -> None:
        try:
            with self.app.producer_pool.acquire(block=True) as producer:
                if len(wakeups) == 1:
                    self._send_wakeup(queue, wakeups[0], producer)
                    return
                # One pipeline for all; after an error it is unknown which were sent. That does no
                # harm: a wake-up too many or too few changes nothing.
                with cast("Any", producer).batch(max_size=1000):
                    for wakeup in wakeups:
                        self._send_wakeup(queue, wakeup, producer)
        except _UNREACHABLE as error:
            raise unavailable(self.broker_url, error) from error

    def pass_on(self, queue: str, task_id: str, label: str, *, retries: int = 0) -> None:
        """Send a wake-up again, marked, for another worker; never raises."""
        mark = {PASSED_ON_HEADER: True}
        try:
            self._send(GENERATE_TASK, label, queue, headers=mark, task_id=task_id, retries=retries)
        except _UNREACHABLE as error:
            # The top-up sends what is missing.
            log.warning("wakeup_not_passed_on", extra={"queue": queue, "why": str(error)})

    def wake_results(self, host: str) -> None:
        """Wake the results worker of ``host``: one wake-up under way serves all that waits."""
        self._wake_once(DELIVER_TASK, host, drain_key(host))

    def wake_outbox(self, host: str) -> None:
        """The same for what is to be sent to Supabase."""
        self._wake_once(SYNC_TASK, host, outbox_key(host))

    def _wake_once(self, task: str, host: str, key: str) -> None:
        try:
            if not self.client.set(key, "1", nx=True, px=_DRAIN_KEY_MS):
                return
            if self.client.llen(queue_key(results_queue(host))) >= _MOST_WAKEUPS:
                return
            self._send(task, host, results_queue(host))
        except _UNREACHABLE as error:
            # The top-up looks every second at what waits, and sends it again.
            log.warning("wakeup_not_sent", extra={"task": task, "host": host, "why": str(error)})

    def _send_wakeup(self, queue: str, wakeup: Wakeup, producer: Any) -> None:
        self._send(
            GENERATE_TASK, wakeup.label, queue, task_id=str(wakeup.job_id), producer=producer
        )

    def _send(
        self,
        task: str,
        argument: str,
        queue: str,
        *,
        headers: Mapping[str, object] | None = None,
        **options: Any,
    ) -> None:
        self.app.send_task(
            task,
            args=[argument],
            queue=queue,
            headers={LEDGER_HEADER: str(self.ledger_id), **(headers or {})},
            # Flower shows it.
            argsrepr=f"({argument})",
            kwargsrepr="{}",
            **options,
        )

    def announce_cancel(self) -> None:
        """Tell workers that jobs were canceled; never raises."""
        announce_cancel(self.client)

    def announce(self, job: Job, event: Mapping[str, object]) -> None:
        if job.lane is Lane.BULK and event.get("event") != "progress":
            # Commands count the rows of a batch in the ledger.
            return
        try:
            self.client.publish(events_channel(job.id), json.dumps(event))
        except _UNREACHABLE as error:
            # A waiting command looks at the row as well.
            log.debug("event_not_sent", extra={"job_id": str(job.id), "why": str(error)})
