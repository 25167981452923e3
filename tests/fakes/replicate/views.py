"""Predictions as the fake Replicate's API shows them."""

from __future__ import annotations

import base64
import time
from typing import Any

from tests.fakes.replicate import catalogue, pictures
from tests.fakes.replicate.faults import ReplicateFault
from tests.fakes.replicate.http import FakeSettings
from tests.fakes.replicate.world import Made, as_time


def show(one: Made, stage: FakeSettings) -> dict[str, Any]:
    """The prediction object as it is now."""
    now = time.time()
    status = one.status(now)
    is_over = now >= one.ended_at()
    is_erased = one.fault is ReplicateFault.ERASED and is_over
    is_erased = is_erased or now > one.created_at + stage.world.retention_s
    is_official = catalogue.is_callable_by_name(one.model)
    shown: dict[str, Any] = {
        "id": one.id,
        "model": one.model,
        "version": "hidden" if is_official else catalogue.PAINTER_VERSION,
        "input": {} if is_erased else _told_inputs(one),
        "output": None,
        "logs": "",
        "error": one.error if status == "failed" else None,
        "status": status,
        "source": "api",
        "data_removed": is_erased,
        "created_at": as_time(one.created_at),
        # A client that follows these with its token gives it away.
        "urls": dict.fromkeys(
            ("get", "cancel", "web"), f"https://elsewhere.invalid/v1/predictions/{one.id}"
        ),
    }
    if now >= one.starts_at:
        shown["started_at"] = as_time(one.starts_at)
    if is_over:
        shown["completed_at"] = as_time(one.ended_at())
    if status == "succeeded":
        shown["output"] = None if is_erased else _output(one, stage.delivery_url)
        count = 10**300 if one.fault is ReplicateFault.ENDLESS_METRICS else 1
        shown["metrics"] = {"predict_time": one.ends_at - one.starts_at, "image_count": count}
    return shown


def _told_inputs(one: Made) -> dict[str, Any]:
    """Without secrets, and without files given as data URLs, which Replicate does not return.

    Source: Replicate's staff in replicate/inpainter#1 (read 2026-11).
    """
    told = catalogue.redact(one.model, one.inputs)
    return {name: value for name, value in told.items() if "data:" not in str(value)[:8]}


def _output(one: Made, delivery_url: str) -> Any:
    suffix = one.inputs.get("output_format", "webp")
    url = f"{delivery_url}/output/{one.id}/out-0.{suffix}"
    match one.fault:
        case ReplicateFault.NO_FILES:
            return []
        case ReplicateFault.BARE_STRING:
            return url
        case ReplicateFault.DATA_URL:
            data = base64.b64encode(pictures.draw(one.inputs)).decode()
            return [f"data:application/octet-stream;base64,{data}"]
        case ReplicateFault.DAMAGED_DATA_URL:
            return ["data:image/png;base64,iVBORw0KGgo!!!"]
        case ReplicateFault.TEXT_OUTPUT:
            return "Note: a fox, as it seems."
        case ReplicateFault.OBJECT_OUTPUT:
            return {"video": url, "count": 1}
        case ReplicateFault.OUTPUT_ELSEWHERE:
            return ["https://elsewhere.invalid/out-0.png"]
    return [url]
