"""A worker outlives the loss of its connection to Redis."""

from __future__ import annotations

import pytest
from kombu import Connection

from imagen.queue.broker.transport import CheckingTransport


def test_what_is_closed_after_its_connection_is_an_error_of_the_connection(redis_url: str) -> None:
    with Connection(redis_url, transport=CheckingTransport) as connection:
        channel = connection.channel()
        virtual = channel.connection
        client, virtual.client = virtual.client, None

        # Celery ignores these while it closes, and connects again.
        with pytest.raises(connection.connection_errors, match="is closed"):
            channel._create_client()

        virtual.client = client
