"""A picture of a request: the same pixels for the same request on every machine."""

from __future__ import annotations

import io
import random
from typing import Any

from PIL import Image

from imagen.backends.mock.landscape import draw_landscape
from imagen.backends.mock.lettering import draw_caption
from imagen.backends.mock.palettes import PALETTES, find_palette
from imagen.domain.request import ImageRequest

# Level 1 takes a third of the time of the default and flat colours still shrink well.
_ENCODING: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 1},
    "jpeg": {"quality": 92, "subsampling": 0},
    "webp": {"quality": 90, "method": 2},
}


def draw_request(request: ImageRequest) -> bytes:
    """The picture of ``request``, encoded in the format it asks for (PNG where it is unknown)."""
    image_format = request.format if request.format in _ENCODING else "png"
    buffer = io.BytesIO()
    draw_image(request).save(buffer, image_format.upper(), **_ENCODING[image_format])
    return buffer.getvalue()


def draw_image(request: ImageRequest) -> Image.Image:
    """RGB, width x height pixels: a landscape that prompt, negative and seed choose, lettered."""
    # Seeded with bytes, it gives the same numbers on every machine and Python.
    key = f"{request.seed}\n{request.styled_prompt}\n{request.negative}"
    rng = random.Random(key.encode("utf-8", "surrogatepass"))  # noqa: S311  (not a secret)
    palette = rng.choice(PALETTES)
    palette = find_palette(request.options.get("palette", ""), otherwise=palette)
    image = draw_landscape(request.width, request.height, rng, palette)
    draw_caption(
        image,
        request.styled_prompt,
        footer=f"seed {request.seed}  {request.width}x{request.height}",
    )
    return image
