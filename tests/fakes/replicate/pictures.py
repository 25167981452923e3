"""The images the fake Replicate draws: plain, quick, and different for each seed and prompt."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from PIL import Image, ImageOps

_PIXELS = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "3:2": (1216, 832),
    "2:3": (832, 1216),
    "4:5": (896, 1088),
    "5:4": (1088, 896),
    "3:4": (896, 1152),
    "4:3": (1152, 896),
    "9:16": (768, 1344),
    "9:21": (640, 1536),
}


def draw(inputs: Mapping[str, Any]) -> bytes:
    """The encoded image for a prediction's input; the same for the same input."""
    size = _size_of(inputs)
    told = f"{inputs.get('seed')} {inputs.get('prompt')}"
    return _encode(told, size, str(inputs.get("output_format", "webp")))


def _size_of(inputs: Mapping[str, Any]) -> tuple[int, int]:
    if "width" in inputs and "height" in inputs:
        return int(inputs["width"]), int(inputs["height"])
    width, height = _PIXELS.get(str(inputs.get("aspect_ratio", "1:1")), (1024, 1024))
    return (width // 2, height // 2) if inputs.get("megapixels") == "0.25" else (width, height)


@lru_cache(maxsize=32)
def _encode(told: str, size: tuple[int, int], suffix: str) -> bytes:
    digest = hashlib.sha256(told.encode()).digest()
    dark, light = tuple(digest[:3]), tuple(digest[3:6])
    ramp = Image.linear_gradient("L").resize(size)
    image = ImageOps.colorize(ramp, dark, light)
    buffer = io.BytesIO()
    if suffix == "png":
        image.save(buffer, "PNG", compress_level=1)
    else:
        image.save(buffer, "JPEG" if suffix == "jpg" else "WEBP", quality=80)
    return buffer.getvalue()
