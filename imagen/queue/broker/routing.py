"""Names of queues, keys and channels in Redis, in one place because operators type them."""

from __future__ import annotations

from uuid import UUID

#: Before every key: several applications may share one Redis, whose pub/sub knows no databases.
KEY_PREFIX = "imagen:"

GENERATE_TASK = "imagen.generate"
DELIVER_TASK = "imagen.deliver"
SYNC_TASK = "imagen.sync"

#: A header of each message: which ledger its job is in.
LEDGER_HEADER = "imagen_ledger"
#: A header of a wake-up that a worker had no use for and has sent on: nobody sends it on again.
PASSED_ON_HEADER = "imagen_passed_on"

#: Where it is told that some jobs were canceled.
CANCELS_CHANNEL = f"{KEY_PREFIX}events.cancels"


def results_queue(host: str) -> str:
    """The queue of what ``host`` has to deliver."""
    return f"results.{host}"


def queue_key(queue: str) -> str:
    """The Redis list in which kombu keeps the messages of a queue (priority 0)."""
    return f"{KEY_PREFIX}{queue}"


def drain_key(host: str) -> str:
    """Set while a wake-up for the deliveries of ``host`` is on its way: one is enough for all."""
    return f"{KEY_PREFIX}drain.{host}"


def outbox_key(host: str) -> str:
    """The same for what ``host`` has to send to Supabase."""
    return f"{KEY_PREFIX}outbox.{host}"


def events_channel(job_id: UUID) -> str:
    """Where it is told what happens to a job."""
    return f"{KEY_PREFIX}events.{job_id}"
