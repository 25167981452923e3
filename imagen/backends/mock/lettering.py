"""The prompt, written on the picture in a bitmap font, so that a person can tell images apart."""

from __future__ import annotations

import re
import textwrap

from anyascii import anyascii
from PIL import Image, ImageDraw, ImageFont

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


def draw_caption(image: Image.Image, text: str, *, footer: str) -> None:
    """Writes ``text`` and ``footer`` on a dark panel at the bottom, where there is room for it.

    From 256 x 256 pixels up there always is; what does not fit ends in "...".
    """
    # The nearest neighbour of a whole multiple: pixels become squares, nothing is rounded.
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
