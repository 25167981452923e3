"""The picture of a request: the same pixels for the same request on every machine."""

from __future__ import annotations

import io
import random
import re
import textwrap
from typing import Any

from anyascii import anyascii
from PIL import Image, ImageDraw, ImageFont

from imagen.backends.mock.landscape import draw_landscape
from imagen.backends.mock.palettes import PALETTES
from imagen.domain.request import ImageRequest

# Level 1 takes a third of the time of the default and flat colours still shrink well.
_ENCODING: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 1},
    "jpeg": {"quality": 92, "subsampling": 0},
    "webp": {"quality": 90, "method": 2},
}

# Pillow's built-in bitmap font: every glyph is as wide as the next.
_GLYPH_WIDTH, _LINE_HEIGHT = 6, 14
_MARGIN = 6
_SMALLEST_SIDE = 128
# A prompt may be 32,000 bytes long; no panel shows more than this.
_MAX_CHARS = 1200
_MAX_LINES = 6

_INK = (250, 248, 242)
_PANEL = (14, 15, 26)
_PANEL_STRENGTH = 170

_INVISIBLE = re.compile("[\x00-\x1f\x7f-\xa0\xad]+")


def draw_request(request: ImageRequest) -> bytes:
    """The picture of ``request``, encoded in the format it asks for (PNG where it is unknown)."""
    image_format = request.format if request.format in _ENCODING else "png"
    buffer = io.BytesIO()
    draw_image(request).save(buffer, image_format.upper(), **_ENCODING[image_format])
    return buffer.getvalue()


def draw_image(request: ImageRequest) -> Image.Image:
    """RGB, width x height pixels: a landscape made of prompt, negative and seed, with the prompt
    written on it so that a person can tell images apart."""
    # Seeded with bytes, it gives the same numbers on every machine and Python.
    key = f"{request.seed}\n{request.styled_prompt}\n{request.negative}"
    rng = random.Random(key.encode("utf-8", "surrogatepass"))  # noqa: S311  (not a secret)
    palette = rng.choice(list(PALETTES.values()))
    palette = PALETTES.get(request.options.get("palette", ""), palette)
    image = draw_landscape(request.width, request.height, rng, palette)
    _draw_caption(
        image,
        request.styled_prompt,
        footer=f"seed {request.seed}  {request.width}x{request.height}",
    )
    return image


def _draw_caption(image: Image.Image, text: str, *, footer: str) -> None:
    """Writes ``text`` and ``footer`` on a dark panel at the bottom, where there is room for it.

    From 256 x 256 pixels up there always is; what does not fit ends in "...".
    """
    # Resized to a whole multiple by the nearest neighbour: pixels become squares without rounding.
    scale = max(1, min(image.width, image.height * 3 // 2) // 320)
    columns = (image.width // scale - 2 * _MARGIN) // _GLYPH_WIDTH
    # The panel takes two fifths of the picture at most; one line of it is the footer's.
    rows = min(_MAX_LINES, (image.height * 2 // 5 // scale - 2 * _MARGIN) // _LINE_HEIGHT - 1)
    if rows < 1 or image.width < _SMALLEST_SIDE:
        return
    lines = textwrap.wrap(_legible(text), columns, max_lines=rows, placeholder="...") or ["..."]
    lines.append(footer[:columns])
    panel = Image.new("L", (image.width // scale + 1, 2 * _MARGIN + _LINE_HEIGHT * len(lines)))
    pen = ImageDraw.Draw(panel)
    for number, line in enumerate(lines):
        at = (_MARGIN, _MARGIN + number * _LINE_HEIGHT)
        pen.text(at, line, fill=255, font=ImageFont.load_default_imagefont())
    panel = panel.resize((panel.width * scale, panel.height * scale), Image.Resampling.NEAREST)
    top = image.height - panel.height
    image.paste(_PANEL, (0, top), Image.new("L", panel.size, _PANEL_STRENGTH))
    image.paste(_INK, (0, top), panel)


def _legible(text: str) -> str:
    """The text in characters that the font has: Latin-1, other scripts transliterated."""
    shown = "".join(
        character if character <= "\xff" else anyascii(character) for character in text[:_MAX_CHARS]
    )
    return _INVISIBLE.sub(" ", shown).strip()
