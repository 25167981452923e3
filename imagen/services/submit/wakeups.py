"""Tells workers that jobs wait for them, by messages that people see in Flower and in logs."""

from __future__ import annotations

from collections.abc import Iterable

from imagen.domain.job import Job, JobDraft, Wakeup
from imagen.domain.protocols import Publisher
from imagen.output.naming import slugify

#: A label must not give a prompt away.
_SLUG_CHARS = 24


def wakeup_for(job: Job | JobDraft) -> Wakeup:
    """The wake-up of a job: backend, size and the beginning of its slug."""
    slug = slugify(job.request.prompt, max_chars=_SLUG_CHARS)
    return Wakeup(job.id, f"{job.backend} {job.request.size} {slug}")


def wake_workers(publisher: Publisher, jobs: Iterable[Job | JobDraft]) -> None:
    """Send the wake-ups of these jobs, a queue at a time; only after they are committed.

    Raises:
        BrokerUnavailable: the jobs are accepted all the same, and are drawn when Redis is back.
    """
    by_queue: dict[str, list[Wakeup]] = {}
    for job in jobs:
        by_queue.setdefault(job.queue, []).append(wakeup_for(job))
    for queue, wakeups in by_queue.items():
        publisher.wake_workers(queue, wakeups)
