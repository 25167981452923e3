"""A job, what was drawn for it, and pictures in every format."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from imagen.domain.cost import Cost
from imagen.domain.drawing_record import DrawingRecord, requested_of
from imagen.domain.job import Job, JobState, Lane, Output
from imagen.domain.request import ImageRequest
from imagen.output.provenance import Provenance

_DRAWN = DrawingRecord.__dataclass_fields__
JOB_ID = UUID("019a0000-0000-7000-8000-000000000001")


@pytest.fixture
def make_image() -> Callable[..., bytes]:
    """A function that encodes a test picture."""

    def make(image_format: str, mode: str = "RGB", **options: Any) -> bytes:
        gradient = Image.linear_gradient("L").resize((40, 24))
        picture = Image.merge("RGB", (gradient, gradient.rotate(180), gradient)).convert(mode)
        buffer = io.BytesIO()
        picture.save(buffer, image_format.upper(), **options)
        return buffer.getvalue()

    return make


@pytest.fixture
def make_provenance() -> Callable[..., Provenance]:
    """A function that makes the provenance of an image; ``request`` changes the request."""

    def make(*, request: dict[str, Any] | None = None, **facts: Any) -> Provenance:
        asked: dict[str, Any] = {
            "prompt": "a red fox",
            "styled_prompt": "a red fox, soft light",
            "negative": "text, watermark",
            "style": "blog-header",
            "width": 40,
            "height": 24,
            "seed": 7,
            "options": {"guidance": "3.5"},
        }
        job = Job(
            id=JOB_ID,
            state=JobState.GENERATED,
            request=ImageRequest(**(asked | (request or {}))),
            output=Output("/pictures", "fox.{ext}"),
            backend="flux-dev-local",
            queue="gpu",
            lane=Lane.INTERACTIVE,
            caller="editor",
            delivery_host="desk",
            created_at=datetime(2026, 11, 20, 9, 30, 0, 250_000, tzinfo=UTC),
        )
        known: dict[str, Any] = {
            "attempt_id": UUID("019a0000-0000-7000-8000-000000000002"),
            "format": "png",
            "cost": Cost(Decimal("0.025"), "price table of 2026-09-06"),
            "details": {"workflow": {"6": {"inputs": {"text": "a red fox, soft light"}}}},
            "finished_at": datetime(2026, 11, 20, 9, 30, 8, tzinfo=UTC),
            "latency_ms": 7400,
        }
        drawn: dict[str, Any] = {
            "requested": requested_of(job.request),
            "model": "flux1-dev.safetensors",
            "seed": 7,
            "steps": 20,
            "negative": job.request.negative,
            "width": 40,
            "height": 24,
        }
        drawn |= {name: facts.pop(name) for name in _DRAWN if name in facts}
        return Provenance(job=job, drawing=DrawingRecord(**drawn), **(known | facts))

    return make
