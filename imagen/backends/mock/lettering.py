"""The prompt, written on the picture in a bitmap font, so that a person can tell images apart."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from functools import lru_cache

from anyascii import anyascii
from PIL import Image, ImageFont

from imagen.backends.mock.landscape import draw_disc

# Pillow's built-in bitmap font: every glyph is as wide as the next.
_GLYPH_WIDTH, _GLYPH_HEIGHT = 6, 11
_MIN_COLUMNS = 24
# Margins and padding on both sides of the text, in the font's pixels.
_AROUND = 22
_CUT = "..."
# A prompt may be 32,000 bytes long; no panel shows more than this.
_MAX_CHARS = 1200

_INK = (250, 248, 242)
_FAINT_INK = (190, 192, 204)
_PANEL = (14, 15, 26)
_PANEL_STRENGTH = 186

_INVISIBLE = re.compile("[\x00-\x1f\x7f-\xa0\xad]+")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Lines of text and the whole number of pixels that a font's pixel becomes."""

    lines: list[str]
    scale: int


def letter(image: Image.Image, text: str, *, footer: str) -> None:
    """Write ``text`` and ``footer`` on a dark panel at the bottom, where there is room for it.

    From 256 x 256 pixels up there always is; what does not fit ends in "...".
    """
    text = _make_legible(text)
    layout = _lay_out(text, image.width, image.height)
    if layout is None:
        return
    scale = layout.scale
    pad, line = 6 * scale, (_GLYPH_HEIGHT + 3) * scale
    small = max(1, scale // 2)
    foot = (_GLYPH_HEIGHT + 5) * small if image.height >= 160 else 0
    high = pad * 2 + line * len(layout.lines) - 3 * scale + foot
    margin = 5 * scale
    left, top = margin, image.height - margin - high
    panel = _round_panel(image.width - 2 * margin, high, 5 * scale)
    image.paste(_PANEL, (left, top), panel)
    for number, words in enumerate(layout.lines):
        _write(image, words, (left + pad, top + pad + number * line), scale, _INK)
    if foot:
        columns = (image.width - 2 * (margin + pad)) // (_GLYPH_WIDTH * small)
        y = top + high - pad - _GLYPH_HEIGHT * small
        _write(image, footer[:columns], (left + pad, y), small, _FAINT_INK)


def _make_legible(text: str) -> str:
    """The text in characters that the font has: Latin-1, other scripts transliterated."""
    shown = "".join(
        character if character <= "\xff" else anyascii(character) for character in text[:_MAX_CHARS]
    )
    return _INVISIBLE.sub(" ", shown).strip()


def _lay_out(text: str, width: int, height: int) -> _Layout | None:
    """The largest lettering in which the whole text fits, else the smallest, cut short."""
    largest = max(1, min(width, height * 3 // 2) // 256)
    smallest = max(1, largest // 2)
    layout: _Layout | None = None
    for scale in range(largest, smallest - 1, -1):
        columns = (width // scale - _AROUND) // _GLYPH_WIDTH
        if columns < _MIN_COLUMNS:
            continue
        # The panel takes two fifths of the picture at most; a title stays a title.
        rows = (height * 2 // 5 // scale - _AROUND) // (_GLYPH_HEIGHT + 3)
        rows = min(max(1, rows), 3 if scale == largest else 8)
        lines = textwrap.wrap(text, columns, max_lines=rows, placeholder=_CUT)
        layout = _Layout(lines or [_CUT], scale)
        if not layout.lines[-1].endswith(_CUT) or text.endswith(_CUT):
            break
    return layout


def _round_panel(width: int, height: int, radius: int) -> Image.Image:
    radius = max(1, min(radius, height // 2, width // 2))
    panel = Image.new("L", (width, height), _PANEL_STRENGTH)
    corners = draw_disc(radius, _PANEL_STRENGTH)
    for right in (False, True):
        for bottom in (False, True):
            x, y = radius * right, radius * bottom
            quarter = corners.crop((x, y, x + radius, y + radius))
            panel.paste(quarter, ((width - radius) * right, (height - radius) * bottom))
    return panel


def _write(
    image: Image.Image, words: str, at: tuple[int, int], scale: int, ink: tuple[int, int, int]
) -> None:
    mask = Image.new("L", (_GLYPH_WIDTH * len(words), _GLYPH_HEIGHT))
    for number, character in enumerate(words):
        mask.paste(_glyph(character), (number * _GLYPH_WIDTH, 0))
    if scale > 1:
        # The nearest neighbour of a whole multiple: pixels become squares, nothing is rounded.
        size = (mask.width * scale, mask.height * scale)
        mask = mask.resize(size, Image.Resampling.NEAREST)
    image.paste(ink, at, mask)


@lru_cache(maxsize=256)
def _glyph(character: str) -> Image.Image:
    font = _load_font()
    left, top, right, bottom = font.getbbox(character)
    glyph = Image.new("L", (_GLYPH_WIDTH, _GLYPH_HEIGHT))
    if right > left and bottom > top:
        drawn = Image.new("L", (int(right), int(bottom)))
        drawn.im.paste(font.getmask(character, mode="L"), (0, 0, int(right), int(bottom)))
        glyph.paste(drawn, (0, 0))
    return glyph


@lru_cache(maxsize=1)
def _load_font() -> ImageFont.ImageFont:
    return ImageFont.load_default_imagefont()
