"""Where an image comes from: the facts of which the sidecar and the embedded record are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

from imagen import __version__
from imagen.domain.cost import UNKNOWN_COST, Cost
from imagen.domain.drawing_record import DrawingRecord
from imagen.domain.job import Job
from imagen.domain.prompt import hash_prompt
from imagen.domain.secret_names import hide_secrets

#: Increased when a field is removed or changes its meaning, not for new fields.
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Provenance:
    """Everything about one image that does not depend on when or where its file is written.

    A repeated delivery therefore makes the same bytes.

    Attributes:
        drawing: what was asked for and what was drawn.
        format: of the image itself.
        cost, details: as the backend said; see ``Drawn``.
        finished_at: when it was drawn.
        latency_ms: how long the attempt that drew it took.
        imagen_version: the version that delivers.
    """

    job: Job
    attempt_id: UUID
    drawing: DrawingRecord
    format: str
    cost: Cost = UNKNOWN_COST
    details: Mapping[str, Any] = field(default_factory=dict)
    finished_at: datetime | None = None
    latency_ms: int | None = None
    imagen_version: str = __version__

    @cached_property
    def record(self) -> dict[str, Any]:
        """The record in the image: enough to draw it again and to find its job.

        A JSON object, without the caller and the price: images are passed on, sidecars are not.
        """
        request, drawing = self.job.request, self.drawing
        return _plain_object(
            {
                "schema_version": SCHEMA_VERSION,
                "imagen": self.imagen_version,
                "job_id": self.job.id,
                "attempt_id": self.attempt_id,
                "created_at": self.job.created_at,
                "backend": self.job.backend,
                "model": drawing.model or self.job.backend,
                "prompt": request.prompt,
                "drawn_prompt": request.styled_prompt,
                "negative": drawing.negative,
                "style": request.style,
                "seed": drawing.seed,
                "steps": drawing.steps,
                "width": drawing.width,
                "height": drawing.height,
                "format": self.format,
                "requested_size": str(drawing.requested.size),
                "warnings": drawing.warnings,
                "options": hide_secrets(request.options),
                "details": self.details,
            }
        )

    def full_record(self) -> dict[str, Any]:
        """The record for the sidecar: also caller, times, price and batch."""
        job = self.job
        circumstances = {
            "prompt_hash": hash_prompt(job.request.prompt),
            "finished_at": self.finished_at,
            "latency_ms": self.latency_ms,
            "cost_usd": self.cost.usd,
            "cost_source": self.cost.source,
            "caller": job.caller,
            "batch_id": job.batch_id,
            "position": job.position,
            "requested_format": job.request.format,
        }
        return self.record | _plain_object(circumstances)


def _plain_object(values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): _plain(value) for key, value in values.items()}


def _plain(value: Any) -> Any:
    """The value in types that JSON has; others become text, and NaN null."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return 0 if value == 0 else _plain(float(value))
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case Mapping():
            return _plain_object(value)
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return str(value)
