"""What a worker program looks at before it starts."""

from __future__ import annotations

import pytest
from uuid_utils.compat import uuid7

from imagen.domain.job import Wakeup
from imagen.errors import ConfigError, LedgerMismatch
from imagen.queue.broker.connection import connect
from imagen.queue.broker.routing import queue_key
from imagen.queue.worker.program import refuse_foreign_messages, refuse_remote_sqlite


def test_a_sqlite_ledger_goes_with_a_broker_on_this_machine(sqlite_desk):
    refuse_remote_sqlite(sqlite_desk.ledger, "redis://127.0.0.1:6379/0")


def test_a_sqlite_ledger_does_not_go_with_a_broker_elsewhere(sqlite_desk):
    with pytest.raises(ConfigError) as refused:
        refuse_remote_sqlite(sqlite_desk.ledger, "redis://:test-password@10.0.0.1:6379/0")

    assert "redis://10.0.0.1:6379/0" in refused.value.message
    assert "IMAGEN_DATABASE_URL" in refused.value.hint
    assert "test-password" not in str(refused.value)


def test_a_postgresql_ledger_goes_with_any_broker(postgres_ledger):
    refuse_remote_sqlite(postgres_ledger, "redis://10.0.0.1:6379/0")


def _look(publisher, *, ledger_id):
    refuse_foreign_messages(
        publisher.client, publisher.broker_url, ["gpu", "cloud"], ledger_id, "here"
    )


def test_messages_of_our_own_ledger_are_welcome(publisher):
    publisher.wake_workers("gpu", [Wakeup(uuid7(), "mock 64x64 fox")])

    _look(publisher, ledger_id=publisher.ledger_id)


@pytest.mark.parametrize("queue", ["gpu", "cloud"])
def test_messages_of_another_ledger_are_refused_in_any_served_queue(publisher, queue):
    publisher.wake_workers(queue, [Wakeup(uuid7(), "mock 64x64 fox")])

    with pytest.raises(LedgerMismatch) as refused:
        _look(publisher, ledger_id=uuid7())

    assert str(publisher.ledger_id) in refused.value.message
    assert repr(queue) in refused.value.message


def test_the_queues_of_others_are_not_looked_at(publisher):
    publisher.wake_workers("elsewhere", [Wakeup(uuid7(), "mock 64x64 fox")])

    _look(publisher, ledger_id=uuid7())


@pytest.mark.parametrize("message", [b"not json", b"[]", b"{}", b'{"headers": null}', b"\xff"])
def test_a_message_that_cannot_be_read_stops_no_worker(publisher, message):
    publisher.client.lpush(queue_key("gpu"), message)

    _look(publisher, ledger_id=uuid7())


def test_a_redis_that_is_away_stops_no_worker():
    with connect("redis://127.0.0.1:1/0") as client:
        refuse_foreign_messages(client, "redis://127.0.0.1:1/0", ["gpu"], uuid7(), "here")
