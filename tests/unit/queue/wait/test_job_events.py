"""Events are a hint: heard when they can be, and never a reason to fail."""

from __future__ import annotations

from uuid_utils.compat import uuid7

from imagen.queue.broker.connection import connect
from imagen.queue.broker.routing import events_channel
from imagen.queue.wait.job_events import listen


def _next(events, *, tries: int = 50):
    """The next event; the confirmation of a subscription counts as a message to redis-py."""
    for _ in range(tries):
        heard = events.next(timeout_s=0.1)
        if heard is not None:
            return heard
    return None


def test_an_event_of_a_subscribed_job_is_heard_with_its_job(redis_url, mailbox):
    job_id = uuid7()
    with listen(mailbox.client, [uuid7(), job_id]) as events:
        mailbox.client.publish(events_channel(job_id), '{"event": "succeeded"}')

        assert _next(events) == (job_id, {"event": "succeeded"})


def test_what_cannot_be_read_is_passed_over(mailbox):
    job_id = uuid7()
    with listen(mailbox.client, [job_id]) as events:
        mailbox.client.publish(events_channel(job_id), b"\xff not json")
        mailbox.client.publish(events_channel(job_id), '{"event": "running"}')

        assert _next(events) == (job_id, {"event": "running"})


def test_silence_ends_in_time(mailbox):
    with listen(mailbox.client, [uuid7()]) as events:
        assert _next(events, tries=3) is None


def test_a_redis_that_is_away_makes_deaf_and_nothing_else():
    with connect("redis://127.0.0.1:1/0") as client, listen(client, [uuid7()]) as events:
        assert events is None


def test_jobs_can_be_followed_and_left_later(mailbox):
    first, second = uuid7(), uuid7()
    with listen(mailbox.client, []) as events:
        assert events.next(timeout_s=0.01) is None
        events.follow([first])
        mailbox.client.publish(events_channel(first), '{"event": "progress"}')
        assert _next(events) == (first, {"event": "progress"})

        events.follow([second])
        mailbox.client.publish(events_channel(first), '{"event": "progress"}')
        mailbox.client.publish(events_channel(second), '{"event": "progress"}')

        assert _next(events) == (second, {"event": "progress"})
