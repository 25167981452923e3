"""The places in the program where a worker is made to die, one list a role.

Each is a function as its caller sees it, and the side of the call on which the process ends.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KillPoint:
    """``module:name`` or ``module:Class.name``; ``side`` is ``before`` or ``after`` the call."""

    target: str
    side: str
    #: Passed once in a process's life, or only by whoever looks after everybody's jobs.
    is_rare: bool = False

    def __str__(self) -> str:
        return f"{self.side} {self.target.removeprefix('imagen.')}"


def _both(target: str, *, is_rare: bool = False) -> list[KillPoint]:
    return [KillPoint(target, side, is_rare) for side in ("before", "after")]


_START = _both("imagen.services.leases.heartbeat:Heartbeat.start", is_rare=True)

_DRAWING = [
    *_both("imagen.services.draw.draw:claim_job"),
    *_both("imagen.backends.mock.drawing:draw_request"),
    *_both("imagen.ledger.jobs.generated:write_artifact_file"),
    *_both("imagen.services.draw.draw:record_generated"),
    *_both("imagen.queue.publish.publisher:CeleryPublisher.wake_results"),
]

# A paid call: announced, sent, its answer written down.
_PAYING = [
    *_both("imagen.services.draw.ledger_run:record_intent"),
    *_both("imagen.backends.mock.memory:CallLog.add"),
    *_both("imagen.services.draw.ledger_run:record_submitted"),
]

_DELIVERING = [
    *_both("imagen.ledger.jobs.delivery:claim_deliveries"),
    *_both("imagen.services.deliver.deliver:record_usage"),
    KillPoint("imagen.services.deliver.image_groups:load_artifacts", "after"),
    *_both("imagen.ledger.jobs.delivery:record_targets"),
    *_both("imagen.services.deliver.file_writer:write_temp"),
    KillPoint("imagen.services.deliver.file_writer:sync_files", "before"),
    *_both("imagen.services.deliver.file_writer:place"),
    KillPoint("imagen.services.deliver.file_writer:sync_folder", "before"),
    *_both("imagen.ledger.jobs.delivery:record_succeeded"),
    KillPoint("imagen.services.deliver.deliver:drop_files", "before"),
]

_LOOKING_AFTER = [
    KillPoint("imagen.services.leases.reconcile:take_lock", "after"),
    *_both("imagen.services.leases.reconcile:take_back", is_rare=True),
    *_both("imagen.queue.publish.publisher:CeleryPublisher.wake_workers", is_rare=True),
]

POINTS: dict[str, list[KillPoint]] = {
    "gpu": [*_START, *_DRAWING],
    "cloud": [*_DRAWING, *_PAYING, *_LOOKING_AFTER],
    "results": [*_START, *_DELIVERING, *_LOOKING_AFTER],
}
