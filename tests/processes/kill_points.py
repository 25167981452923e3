"""The kill points: calls in the product before or after which a worker is made to end.

A target is a function by the name under which its caller looks it up.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class KillPoint:
    """``module:name`` or ``module:Class.name``; ``side`` is ``before`` or ``after`` the call."""

    target: str
    side: str
    #: A process reaches it once, or only while it has the turn to reconcile.
    is_rare: bool = False
    #: The process ends at one of its first calls, at most at this one.
    last_call: int = 3

    def __str__(self) -> str:
        return f"{self.side} {self.target.removeprefix('imagen.')}"


#: What delivering does, in its order.
DELIVERY_STEPS = (
    "imagen.ledger.jobs.delivery.claim_deliveries",
    "imagen.services.deliver.deliver.record_usage",
    "imagen.services.deliver.image_groups.load_artifacts",
    "imagen.services.deliver.deliver.finish_image",
    "imagen.services.deliver.file_writer.pick_target",
    "imagen.ledger.jobs.delivery.record_targets",
    "imagen.services.deliver.file_writer.write_temp",
    "imagen.services.deliver.file_writer.sync_files",
    "imagen.services.deliver.file_writer.move_into_place",
    "imagen.services.deliver.file_writer.sync_folder",
    "imagen.ledger.jobs.delivery.record_succeeded",
    "imagen.services.deliver.deliver.drop_files",
)


def find_target(point: KillPoint) -> Any:
    """The function itself.

    Raises:
        AttributeError, ImportError: there is none by this name.
    """
    module, _, path = point.target.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found


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

# A paid call: the intent is recorded, the call is sent, the id is recorded.
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
    *_both("imagen.services.deliver.file_writer:move_into_place"),
    KillPoint("imagen.services.deliver.file_writer:sync_folder", "before"),
    *_both("imagen.ledger.jobs.delivery:record_succeeded"),
    KillPoint("imagen.services.deliver.deliver:drop_files", "before"),
]

_MAINTENANCE = [
    KillPoint("imagen.services.leases.reconcile:take_lock", "after"),
    *_both("imagen.services.leases.reconcile:take_back", is_rare=True),
    *_both("imagen.queue.publish.publisher:CeleryPublisher.wake_workers", is_rare=True),
]

#: By role, with the mock backend.
KILL_POINTS: dict[str, list[KillPoint]] = {
    "gpu": [*_START, *_DRAWING],
    "cloud": [*_DRAWING, *_PAYING, *_MAINTENANCE],
    "results": [*_START, *_DELIVERING, *_MAINTENANCE],
}

#: The steps of a purchase at Replicate.
PURCHASE_KILL_POINTS: dict[str, list[KillPoint]] = {
    "cloud": [
        KillPoint(target, side, last_call=2)
        for target in (
            "imagen.services.draw.ledger_run:record_intent",
            "imagen.backends.replicate.api.client:Client.post",
            "imagen.services.draw.ledger_run:record_submitted",
            "imagen.services.draw.ledger_run:record_adopted",
            "imagen.backends.replicate.purchase.download:Downloader.fetch",
            "imagen.services.draw.draw:record_generated",
        )
        for side in ("before", "after")
    ]
}
