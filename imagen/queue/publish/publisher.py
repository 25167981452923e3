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

#: How long a delivery wake-up that got lost keeps others from being sent.
_DRAIN_KEY_MS = 2000

#: More are not left waiting: each wakes for all, and a host may be switched off for weeks.
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
                    self._send_generate(producer, queue, wakeups[0])
                    return
                # One pipeline for all; an error in between leaves it unknown which were sent,
                # which is no matter: a wake-up too many or too few changes nothing.
                with cast("Any", producer).batch(max_size=1000):
                    for wakeup in wakeups:
                        self._send_generate(producer, queue, wakeup)
        except _UNREACHABLE as error:
            raise unavailable(self.broker_url, error) from error

    def _send_generate(self, producer: Any, queue: str, wakeup: Wakeup) -> None:
        self.app.send_task(
            GENERATE_TASK,
            args=[wakeup.label],
            task_id=str(wakeup.job_id),
            queue=queue,
            producer=producer,
            headers={LEDGER_HEADER: str(self.ledger_id)},
            argsrepr=f"({wakeup.label})",
            kwargsrepr="{}",
        )

    def pass_on(self, queue: str, task_id: str, label: str, *, retries: int = 0) -> None:
        """Send a wake-up again, marked, for another worker; never raises."""
        headers = {LEDGER_HEADER: str(self.ledger_id), PASSED_ON_HEADER: True}
        try:
            self.app.send_task(
                GENERATE_TASK,
                args=[label],
                task_id=task_id,
                queue=queue,
                headers=headers,
                retries=retries,
                argsrepr=f"({label})",
                kwargsrepr="{}",
            )
        except _UNREACHABLE as error:
            # The caretaker sends what is missing.
            log.warning("wakeup_not_passed_on", extra={"queue": queue, "why": str(error)})

    def wake_results(self, host: str) -> None:
        """One wake-up serves every delivery that waits, so only one is under way at a time."""
        self._wake_once(DELIVER_TASK, host, drain_key(host))

    def wake_outbox(self, host: str) -> None:
        """The same for what has to be sent to Supabase."""
        self._wake_once(SYNC_TASK, host, outbox_key(host))

    def _wake_once(self, task: str, host: str, key: str) -> None:
        try:
            if not self.client.set(key, "1", nx=True, px=_DRAIN_KEY_MS):
                return
            if self.client.llen(queue_key(results_queue(host))) >= _MOST_WAKEUPS:
                return
            self.app.send_task(
                task,
                args=[host],
                queue=results_queue(host),
                headers={LEDGER_HEADER: str(self.ledger_id)},
                argsrepr=f"({host})",
                kwargsrepr="{}",
            )
        except _UNREACHABLE as error:
            # Somebody looks at what waits every second and sends it again.
            log.warning("wakeup_not_sent", extra={"task": task, "host": host, "why": str(error)})

    def announce_cancel(self) -> None:
        """Tell workers that jobs were canceled; never raises."""
        announce_cancel(self.client)

    def announce(self, job: Job, event: Mapping[str, object]) -> None:
        if job.lane is Lane.BULK and event.get("event") != "progress":
            # Nobody waits for bulk rows one by one: they are counted in the ledger.
            return
        try:
            self.client.publish(events_channel(job.id), json.dumps(event))
        except _UNREACHABLE as error:
            # Whoever waits looks at the row as well.
            log.debug("event_not_sent", extra={"job_id": str(job.id), "why": str(error)})
