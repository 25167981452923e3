"""The steps of a purchase, on either side of which a worker is made to die."""

from __future__ import annotations

from tests.chaos.kill_points import KillPoint

_STEPS = (
    "imagen.services.draw.ledger_run:record_intent",
    "imagen.backends.replicate.api.client:Client.post",
    "imagen.services.draw.ledger_run:record_submitted",
    "imagen.services.draw.ledger_run:record_adopted",
    "imagen.backends.replicate.purchase.download:Downloader.fetch",
    "imagen.services.draw.draw:record_generated",
)
POINTS = tuple(KillPoint(step, side) for step in _STEPS for side in ("before", "after"))
