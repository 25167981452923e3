"""Small pictures in every format, made by Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image


@pytest.fixture
def make_image() -> Callable[..., bytes]:
    """A function that encodes a colourful test picture."""

    def make(
        image_format: str, width: int = 48, height: int = 32, mode: str = "RGB", **options: Any
    ) -> bytes:
        image = Image.linear_gradient("L").resize((width, height))
        picture = Image.merge("RGB", (image, image.rotate(180), image)).convert(mode)
        buffer = io.BytesIO()
        picture.save(buffer, image_format.upper(), **options)
        return buffer.getvalue()

    return make
