"""The mock backend's landscape: hills under a sun or a moon, drawn in integers only.

Pillow's polygons, filters and blends use floating point, whose last bit differs between
processors. So hills are masks made column by column, and discs are drawn larger and averaged:
Pillow does both in integers.
"""

from __future__ import annotations

import random
from functools import lru_cache

from PIL import Image, ImageDraw

from imagen.backends.mock.palettes import Palette, fade, mix

# Heights are counted in 1/256 of a pixel, so that edges can be smoothed.
_SUBPIXEL_BITS = 8
_SUBPIXELS = 1 << _SUBPIXEL_BITS
_RIDGES = 4
# A small picture has no room for all of them.
_FEW_RIDGES = 2
_SMALLEST_WITH_ALL = 128


def draw_landscape(width: int, height: int, rng: random.Random, palette: Palette) -> Image.Image:
    """An RGB picture of ``width`` x ``height`` pixels."""
    picture = _draw_sky(width, height, palette)
    if palette.is_night:
        _draw_stars(picture, palette, rng)
    _draw_light(picture, palette, rng)
    # The picture is transposed for the hills, so that a column of it is one run of bytes.
    picture = picture.transpose(Image.Transpose.TRANSPOSE)
    count = _RIDGES if min(width, height) >= _SMALLEST_WITH_ALL else _FEW_RIDGES
    for number in range(count):
        _draw_ridge(picture, palette, rng, nearness=(number + 1) * 100 // count)
    return picture.transpose(Image.Transpose.TRANSPOSE)


def _draw_sky(width: int, height: int, palette: Palette) -> Image.Image:
    column = Image.frombytes("RGB", (1, height), fade(palette.sky_top, palette.sky_bottom, height))
    return column.resize((width, height), Image.Resampling.NEAREST)


def _draw_stars(sky: Image.Image, palette: Palette, rng: random.Random) -> None:
    pen = ImageDraw.Draw(sky)
    side = max(1, min(sky.size) // 400)
    for _ in range(min(160, 12 + sky.width * sky.height // 9000)):
        x, y = rng.randrange(sky.width), rng.randrange(sky.height)
        colour = mix(palette.sky_top, palette.light, rng.randint(20, 100), of=100)
        pen.rectangle((x, y, x + side - 1, y + side - 1), fill=colour)


def _draw_light(sky: Image.Image, palette: Palette, rng: random.Random) -> None:
    """Draws the sun or the moon: a disc, with two faint rings of glow around it."""
    side = min(sky.width, sky.height * 3 // 4)
    radius = max(4, side * rng.randint(90, 135) // 1000)
    x = sky.width * rng.randint(22, 78) // 100
    y = sky.height * rng.randint(20, 40) // 100
    for times_10, strength in ((26, 22), (17, 34), (10, 255)):
        disc = _draw_disc(radius * times_10 // 10, strength)
        sky.paste(palette.light, (x - disc.width // 2, y - disc.height // 2), disc)


@lru_cache(maxsize=128)
def _draw_disc(radius: int, strength: int) -> Image.Image:
    """A mask with a smooth edge, ``strength`` (up to 255) inside."""
    oversampling = 4 if radius <= 64 else 2 if radius <= 512 else 1
    side = 2 * radius * oversampling
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse((0, 0, side - 1, side - 1), fill=strength)
    return mask.reduce(oversampling)


def _draw_ridge(
    sideways: Image.Image, palette: Palette, rng: random.Random, *, nearness: int
) -> None:
    """Draws one row of hills; ``nearness`` is 100 for the nearest."""
    height, width = sideways.size
    side = min(width * 2, height)
    base = height * (46 + nearness * 44 // 100) // 100
    swing = side * (24 - nearness // 10) // 100
    period = max(8, side * (44 + nearness * 28 // 100) // 100)
    tops = [base * _SUBPIXELS - (swing * rise >> 4) for rise in _hills(width, period, rng)]
    colour = mix(palette.far, palette.near, nearness, of=100)
    # Mist: each ridge is paler towards its foot, so that the next one stands out.
    foot = mix(colour, palette.sky_bottom, 36 - nearness // 4, of=100)
    above = max(0, min(tops) // _SUBPIXELS)
    column = bytes(colour) * above + fade(colour, foot, max(2, side * 30 // 100))
    column = (column + bytes(foot) * height)[: 3 * height]
    hills = Image.frombytes("RGB", sideways.size, column * width)
    sideways.paste(hills, (0, 0), _mask(tops, height))


def _hills(width: int, period: int, rng: random.Random) -> list[int]:
    """Smooth noise of two sizes, one number a column, 0..4095."""
    broad = _waves(width, period, rng)
    fine = _waves(width, max(4, period * 3 // 8), rng)
    return [(high * 3 + low) >> 2 for high, low in zip(broad, fine, strict=True)]


def _waves(width: int, period: int, rng: random.Random) -> list[int]:
    """Random heights, 0..4095, every ``period`` columns, and a soft curve between them."""
    offset = rng.randrange(period)
    rises: list[int] = []
    left = rng.randrange(4096)
    while len(rises) < width + offset:
        right = rng.randrange(4096)
        rises += [left + ((right - left) * part >> 12) for part in _ease(period)]
        left = right
    return rises[offset : offset + width]


@lru_cache(maxsize=64)
def _ease(period: int) -> tuple[int, ...]:
    """Smoothstep, 3t^2 - 2t^3, over one period, in units of 1/4096."""
    parts = (step * 4096 // period for step in range(period))
    return tuple(t * t * (3 * 4096 - 2 * t) >> 24 for t in parts)


def _mask(tops: list[int], height: int) -> Image.Image:
    """A transposed mask: each column is filled from its top down, its edge pixel in part."""
    air, ground = bytes(height), b"\xff" * height
    columns: list[bytes] = []
    for top in tops:
        row = min(max(top >> _SUBPIXEL_BITS, 0), height - 1)
        edge = 255 * (_SUBPIXELS - (top & (_SUBPIXELS - 1))) >> _SUBPIXEL_BITS
        columns.append(air[:row] + bytes((edge,)) + ground[row + 1 :])
    return Image.frombytes("L", (height, len(tops)), b"".join(columns))
