"""Hills under a sun or a moon: what the mock backend draws, in integers from end to end.

Pillow's polygons, filters and blends count in floating point, whose last bit differs between
processors. So hills are pasted through masks, put together column by column, and discs are drawn
too large and averaged: both of which Pillow does in integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw

from imagen.backends.mock.dice import Dice
from imagen.backends.mock.palettes import Palette, fade, mix

# Heights are counted in 1/256 of a pixel, so that edges can be smoothed.
_SUBPIXEL_BITS = 8
_SUBPIXELS = 1 << _SUBPIXEL_BITS
# Ridges from the farthest, 0, to the nearest; a small picture has no room for all of them.
_LAYERS = (0, 1, 2, 3, 4)
_FEW_LAYERS = (0, 2, 4)
_SMALLEST_WITH_ALL = 128
# Below this the finest waves would be lower than a pixel.
_SMALLEST_FINE_PERIOD = 64
# Masks up to this radius are worth remembering: small images come by the ten thousand.
_SMALL_RADIUS = 32


@dataclass(frozen=True, slots=True)
class _Ridge:
    """One row of hills: its height in each column (subpixels from the top) and its colours."""

    tops: list[int]
    colours: bytes


def draw_landscape(width: int, height: int, dice: Dice, *, palette: Palette) -> Image.Image:
    """An RGB picture of ``width`` x ``height`` pixels."""
    sky = _draw_sky(width, height, palette, dice)
    layers = _LAYERS if min(width, height) >= _SMALLEST_WITH_ALL else _FEW_LAYERS
    ridges = [_raise_ridge(width, height, palette, dice, layer) for layer in layers]
    return _put_in_front(sky, ridges)


def _draw_sky(width: int, height: int, palette: Palette, dice: Dice) -> Image.Image:
    horizon = max(2, height * 7 // 10)
    column = fade(palette.sky_top, palette.sky_bottom, horizon)
    column += bytes(palette.sky_bottom) * (height - horizon)
    rows = (column[at : at + 3] * width for at in range(0, 3 * height, 3))
    sky = Image.frombytes("RGB", (width, height), b"".join(rows))
    if palette.is_night:
        _scatter_stars(sky, horizon, palette, dice)
    _hang_light(sky, palette, dice)
    if not palette.is_night:
        _float_clouds(sky, palette, dice)
    return sky


def _scatter_stars(sky: Image.Image, horizon: int, palette: Palette, dice: Dice) -> None:
    pen = ImageDraw.Draw(sky)
    unit = max(1, min(sky.size) // 400)
    count = min(160, 12 + sky.width * horizon // 6000)
    for _ in range(count):
        x = sky.width * dice.roll(0, 4095) // 4096
        y = horizon * dice.roll(0, 4095) // 4096
        part = dice.roll(20, 100) * (horizon - y) // horizon
        colour = mix(palette.sky_top, palette.light, part, of=100)
        side = unit if dice.roll(0, 5) else unit * 2
        pen.rectangle((x, y, x + side - 1, y + side - 1), fill=colour)


def _hang_light(sky: Image.Image, palette: Palette, dice: Dice) -> None:
    """Sun or moon: a disc, with two faint rings of glow around it."""
    side = min(sky.width, sky.height * 3 // 4)
    radius = max(4, side * dice.roll(90, 135) // 1000)
    x = sky.width * dice.roll(22, 78) // 100
    y = sky.height * dice.roll(20, 40) // 100
    for times_10, strength in ((26, 22), (17, 34), (10, 255)):
        disc = draw_disc(radius * times_10 // 10, strength)
        sky.paste(palette.light, (x - disc.width // 2, y - disc.height // 2), disc)
    if palette.is_night:
        _mark_moon(sky, palette, x, y, radius)


def _mark_moon(sky: Image.Image, palette: Palette, x: int, y: int, radius: int) -> None:
    """A few soft spots tell the moon from the sun."""
    for dx, dy, size in ((-34, -22, 22), (24, 18, 30), (8, -44, 13)):
        spot = draw_disc(max(1, radius * size // 100), 26)
        left = x + radius * dx // 100 - spot.width // 2
        sky.paste(palette.sky_bottom, (left, y + radius * dy // 100 - spot.height // 2), spot)


def _float_clouds(sky: Image.Image, palette: Palette, dice: Dice) -> None:
    """Long flat clouds, each two or three rounded bars."""
    unit = max(2, min(sky.size) // 48)
    white = mix(palette.sky_bottom, (255, 255, 255), 3, of=5)
    for _ in range(dice.roll(1, 3)):
        x = sky.width * dice.roll(-10, 85) // 100
        y = sky.height * dice.roll(8, 44) // 100
        for bar in range(dice.roll(2, 3)):
            cloud = _draw_bar(unit * dice.roll(7, 17), unit)
            sky.paste(white, (x + unit * dice.roll(-4, 6), y + bar * unit), cloud)


def draw_disc(radius: int, strength: int) -> Image.Image:
    """A mask with a smooth edge, ``strength`` (up to 255) inside."""
    draw = _remember_disc if radius <= _SMALL_RADIUS else _make_disc
    return draw(radius, strength)


def _make_disc(radius: int, strength: int) -> Image.Image:
    oversampling = 4 if radius <= 64 else 2 if radius <= 512 else 1
    side = 2 * radius * oversampling
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse((0, 0, side - 1, side - 1), fill=strength)
    return mask.reduce(oversampling)


_remember_disc = lru_cache(maxsize=256)(_make_disc)


@lru_cache(maxsize=64)
def _draw_bar(length: int, thickness: int) -> Image.Image:
    """A mask with round ends, half strong inside."""
    cap = draw_disc(max(1, thickness // 2), 118)
    bar = Image.new("L", (length, cap.height), 118)
    half = cap.width // 2
    bar.paste(cap.crop((0, 0, half, cap.height)), (0, 0))
    bar.paste(cap.crop((half, 0, cap.width, cap.height)), (length - (cap.width - half), 0))
    return bar


def _raise_ridge(width: int, height: int, palette: Palette, dice: Dice, layer: int) -> _Ridge:
    """The ridge number ``layer``, 0 being the farthest."""
    side = min(width * 2, height)
    base = height * (50 + 10 * layer) // 100
    swing = side * (22 - 2 * layer) // 100
    period = max(8, side * (44 + 7 * layer) // 100)
    tops = [base * _SUBPIXELS - (swing * rise >> 4) for rise in _roll_hills(width, period, dice)]
    if layer == _LAYERS[-2]:
        _plant_pines(tops, max(3, side // 26), dice)
    colour = mix(palette.far, palette.near, layer, of=_LAYERS[-1])
    # Mist: each ridge grows paler towards its foot, which sets off the next one.
    foot = mix(colour, palette.sky_bottom, 34 - 6 * layer, of=100)
    highest = min(tops) // _SUBPIXELS
    run = fade(colour, foot, max(2, side * 30 // 100))
    colours = bytes(colour) * max(0, highest) + run
    colours += bytes(foot) * (height - len(colours) // 3)
    return _Ridge(tops, colours[: 3 * height])


def _roll_hills(width: int, period: int, dice: Dice) -> list[int]:
    """Smooth noise of three sizes, one number a column, 0..4095."""
    broad = _roll_waves(width, period, dice)
    middle = _roll_waves(width, max(4, period * 3 // 8), dice)
    if period < _SMALLEST_FINE_PERIOD:
        return [(big * 3 + medium) >> 2 for big, medium in zip(broad, middle, strict=True)]
    fine = _roll_waves(width, period * 9 // 64, dice)
    return [
        (big * 11 + medium * 4 + small) >> 4
        for big, medium, small in zip(broad, middle, fine, strict=True)
    ]


def _roll_waves(width: int, period: int, dice: Dice) -> list[int]:
    """Random heights, 0..4095, every ``period`` columns, and a soft curve between them."""
    curve = _ease(period)
    offset = dice.roll(0, period - 1)
    rises: list[int] = []
    left = dice.roll(0, 4095)
    while len(rises) < width + offset:
        right = dice.roll(0, 4095)
        step = right - left
        rises += [left + (step * part >> 12) for part in curve]
        left = right
    return rises[offset : offset + width]


@lru_cache(maxsize=64)
def _ease(period: int) -> tuple[int, ...]:
    """Smoothstep, 3t^2 - 2t^3, over one period, in units of 1/4096."""
    parts = (step * 4096 // period for step in range(period))
    return tuple(t * t * (3 * 4096 - 2 * t) >> 24 for t in parts)


def _plant_pines(tops: list[int], size: int, dice: Dice) -> None:
    """Raise a ridge by the outlines of pine trees, standing in loose groups."""
    x = -size * dice.roll(0, 3)
    while x < len(tops):
        tall = size * dice.roll(60, 120) // 100
        half = max(1, tall * 3 // 10)
        ground = tops[min(max(x, 0), len(tops) - 1)]
        for column in range(max(0, x - half), min(len(tops), x + half + 1)):
            # Branches hang in tiers, so the outline falls in steps: steep, flat, steep.
            away = abs(column - x) * _SUBPIXELS * 4 // (half + 1)
            tier, within = divmod(away, _SUBPIXELS)
            fallen = tier * _SUBPIXELS + min(_SUBPIXELS, within * 3 // 2)
            rise = tall * (4 * _SUBPIXELS - fallen) // 4
            tops[column] = min(tops[column], ground - rise)
        x += half + size * (dice.roll(2, 9) if dice.roll(0, 3) else dice.roll(30, 80)) // 10


def _put_in_front(sky: Image.Image, ridges: list[_Ridge]) -> Image.Image:
    """The sky with the ridges before it, farthest first.

    The picture lies on its side meanwhile, so that a column of it is one run of bytes.
    """
    sideways = sky.transpose(Image.Transpose.TRANSPOSE)
    for ridge in ridges:
        hills = Image.frombytes("RGB", sideways.size, ridge.colours * sky.width)
        sideways.paste(hills, (0, 0), _outline(ridge.tops, sky.height))
    return sideways.transpose(Image.Transpose.TRANSPOSE)


def _outline(tops: list[int], height: int) -> Image.Image:
    """A mask on its side: in each column all from its top down, the pixel at the edge in part."""
    air, ground = bytes(height), b"\xff" * height
    columns: list[bytes] = []
    for top in tops:
        row = top >> _SUBPIXEL_BITS
        if row < 0:
            columns.append(ground)
        elif row < height:
            columns.append(air[:row] + _EDGES[top & (_SUBPIXELS - 1)] + ground[row + 1 :])
        else:
            columns.append(air)
    return Image.frombytes("L", (height, len(tops)), b"".join(columns))


# How strong an edge pixel is whose hill begins so many subpixels down in it.
_EDGES = [bytes([255 * (_SUBPIXELS - air) >> _SUBPIXEL_BITS]) for air in range(_SUBPIXELS)]
