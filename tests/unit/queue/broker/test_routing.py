"""Names that operators type, and that every process must spell alike."""

from __future__ import annotations

from uuid import UUID

from imagen.queue.broker.routing import (
    KEY_PREFIX,
    drain_key,
    events_channel,
    queue_key,
    results_queue,
)

JOB = UUID("01900000-0000-7000-8000-000000000001")


def test_each_host_has_a_results_queue_of_its_own():
    assert results_queue("studio") == "results.studio"
    assert results_queue("studio") != results_queue("attic")


def test_everything_in_redis_begins_with_our_prefix():
    names = [queue_key("gpu"), drain_key("studio"), events_channel(JOB)]

    assert all(name.startswith(KEY_PREFIX) for name in names)
    assert len(set(names)) == 3
