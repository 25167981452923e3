"""Reports the end of a task to Flower under the id of the job that it drew.

A wake-up has the id of the job that it was sent for, but the worker that gets it draws the best
waiting job. Under the wake-up's id Flower would show the end of one job as that of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from celery.worker.request import Request

#: The job that was drawn, by the delivery tag of the wake-up; until its end is reported.
_drawn: dict[str, UUID] = {}

_ENDS = frozenset({"task-succeeded", "task-failed", "task-retried"})


def note_drawn(properties: Mapping[str, Any] | None, job_id: UUID) -> None:
    """Remember which other job than its own the wake-up with these properties has drawn."""
    tag = (properties or {}).get("delivery_tag")
    if tag is not None:
        _drawn[tag] = job_id


class WakeupRequest(Request):
    """One wake-up in a worker, from its arrival to its end."""

    def send_event(self, type: str, **fields: Any) -> None:
        job_id = _drawn.pop(self.message.delivery_tag, None) if type in _ENDS else None
        if job_id is None:
            super().send_event(type, **fields)
        elif self.eventer and self.eventer.enabled and self.task.send_events:
            self.eventer.send(type, uuid=str(job_id), **fields)
