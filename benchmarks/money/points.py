"""The steps of a purchase, on either side of which a worker is made to die."""

from __future__ import annotations

from benchmarks.chaos.points import Point

_STEPS = (
    "imagen.services.run:record_intent",
    "imagen.backends.replicate.client:Client.post",
    "imagen.services.run:record_submitted",
    "imagen.services.run:record_adopted",
    "imagen.backends.replicate.download:Downloader.fetch",
    "imagen.services.generate:record_generated",
)
POINTS = tuple(Point(step, side) for step in _STEPS for side in ("before", "after"))
