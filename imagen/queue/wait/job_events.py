"""The events of jobs, as Redis pub/sub delivers them: hints only, the row is the truth."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis
from redis.client import PubSub

from imagen.queue.broker.routing import events_channel

log = logging.getLogger(__name__)


@dataclass
class EventSubscription:
    """The subscription of one waiting command; while Redis is away it receives nothing."""

    pubsub: PubSub
    _followed: frozenset[UUID] = frozenset()

    def follow(self, job_ids: Iterable[UUID]) -> None:
        """Receive the events of these jobs from now on, and of no others."""
        wanted = frozenset(job_ids)
        gone, new = self._followed - wanted, wanted - self._followed
        try:
            if gone:
                self.pubsub.unsubscribe(*[events_channel(job_id) for job_id in gone])  # type: ignore[no-untyped-call]  # redis-py does not type it
            if new:
                self.pubsub.subscribe(*[events_channel(job_id) for job_id in new])
        except redis.RedisError as error:
            log.debug("events_not_followed", extra={"why": str(error)})
            return
        self._followed = wanted

    def next(self, *, timeout_s: float) -> tuple[UUID, dict[str, Any]] | None:
        """The next event of a subscribed job; None without one within ``timeout_s`` seconds."""
        message = self.pubsub.get_message(ignore_subscribe_messages=True, timeout=timeout_s)
        if message is None:
            return None
        try:
            job_id = UUID(message["channel"].decode().rpartition(".")[2])
            return job_id, json.loads(message["data"])
        except (ValueError, KeyError):
            log.debug("event_unreadable")
            return None


@contextmanager
def listen(client: redis.Redis, job_ids: Sequence[UUID]) -> Iterator[EventSubscription | None]:
    """Subscribe to these jobs; read their rows after this, so that nothing is missed in between.

    Yields None where Redis is away. Without any job nothing is received until some are followed.
    """
    pubsub = client.pubsub()  # type: ignore[no-untyped-call]  # redis-py does not type it
    try:
        try:
            if job_ids:
                pubsub.subscribe(*[events_channel(job_id) for job_id in job_ids])
            subscription: EventSubscription | None = EventSubscription(pubsub)
        except redis.RedisError as error:
            log.info("events_not_heard", extra={"why": str(error)})
            subscription = None
        yield subscription
    finally:
        pubsub.close()
