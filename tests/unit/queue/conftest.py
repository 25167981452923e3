"""A publisher on the run's own Redis, and eyes for what it has sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import redis

from imagen.queue.broker.app import make_app
from imagen.queue.broker.connection import connect
from imagen.queue.broker.routing import queue_key
from imagen.queue.publish.publisher import CeleryPublisher

LEDGER = UUID("01900000-0000-7000-8000-00000000000a")


@dataclass
class Mailbox:
    """What waits in a Redis."""

    client: redis.Redis

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """The messages of a queue, the first to be fetched first."""
        return [json.loads(each) for each in reversed(self.client.lrange(queue_key(queue), 0, -1))]

    def ids(self, queue: str) -> list[str]:
        return [each["headers"]["id"] for each in self.messages(queue)]


@pytest.fixture
def mailbox(redis_url: str) -> Iterator[Mailbox]:
    with connect(redis_url) as client:
        yield Mailbox(client)


@pytest.fixture
def publisher(redis_url: str, mailbox: Mailbox) -> Iterator[CeleryPublisher]:
    app = make_app(redis_url)
    yield CeleryPublisher(app, mailbox.client, redis_url, LEDGER)
    app.close()


@pytest.fixture
def deaf_publisher() -> Iterator[CeleryPublisher]:
    """One whose Redis is away."""
    url = "redis://:test-password@127.0.0.1:1/0"
    app = make_app(url)
    with connect(url) as client:
        yield CeleryPublisher(app, client, url, LEDGER)
    app.close()
