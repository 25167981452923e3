"""The names of queues, keys and channels in Redis; operators type some of them."""

from __future__ import annotations

from uuid import UUID

#: Before every key: several applications may share one Redis, whose pub/sub has no databases.
KEY_PREFIX = "imagen:"

GENERATE_TASK = "imagen.generate"
DELIVER_TASK = "imagen.deliver"
SYNC_TASK = "imagen.sync"

#: A header of each message: which ledger its job is in.
LEDGER_HEADER = "imagen_ledger"
#: A header of a wake-up that a worker has passed on; it is not passed on again.
PASSED_ON_HEADER = "imagen_passed_on"

#: The channel of announcements that some jobs were canceled.
CANCELS_CHANNEL = f"{KEY_PREFIX}events.cancels"


def results_queue(host: str) -> str:
    """The queue of the results workers of ``host``."""
    return f"results.{host}"


def queue_key(queue: str) -> str:
    """The Redis list in which kombu keeps the messages of a queue (priority 0)."""
    return f"{KEY_PREFIX}{queue}"


def drain_key(host: str) -> str:
    """The key that is set while a wake-up for the deliveries of ``host`` is on its way."""
    return f"{KEY_PREFIX}drain.{host}"


def outbox_key(host: str) -> str:
    """The same for what ``host`` has to send to Supabase."""
    return f"{KEY_PREFIX}outbox.{host}"


def events_channel(job_id: UUID) -> str:
    """The channel of the events of a job."""
    return f"{KEY_PREFIX}events.{job_id}"
