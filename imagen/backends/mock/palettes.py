"""The colours of the mock backend's landscapes, and mixing them in whole numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """Sky from top to horizon, the light in it, and the hills from the farthest to the nearest."""

    sky_top: Colour
    sky_bottom: Colour
    light: Colour
    far: Colour
    near: Colour
    is_night: bool = False


def _palette(colours: str, *, is_night: bool = False) -> Palette:
    red_green_blue = (bytes.fromhex(colour) for colour in colours.split())
    top, bottom, light, far, near = ((red, green, blue) for red, green, blue in red_green_blue)
    return Palette(top, bottom, light, far, near, is_night)


#: By the name that ``--opt palette=NAME`` takes.
PALETTES: Mapping[str, Palette] = {
    "dawn": _palette("f4a58a fde6c4 fff7e3 e9ab9c 533a5f"),
    "dusk": _palette("2f2f62 f48f6f ffd98a b65f80 1d1a38"),
    "mint": _palette("a9d8d6 f7f4e2 fff6cf 9fd0c4 1b5556"),
    "desert": _palette("f7c98b fbe7c2 f2784b eeb07a 6b2b1d"),
    "night": _palette("0a0f2c 33447f f6f1dc 40509a 060a1c", is_night=True),
    "alpine": _palette("5fa6dc e9f5f9 fffce8 a6c8de 223f58"),
    "rose": _palette("f3b3c0 fff0e4 f07f80 dcaab4 4b2c46"),
    "aurora": _palette("04202b 1f7a78 e9f8ee 2c8482 03151b", is_night=True),
    "meadow": _palette("bfe0ea fdf8de f5b73a b5cf9a 274a2c"),
    "violet": _palette("5b4391 f6c3dc fff3f6 a988c6 271a3c"),
}


def mix(first: Colour, second: Colour, part: int, *, of: int) -> Colour:
    """The colour ``part``/``of`` of the way from ``first`` to ``second``."""
    rest = of - part
    return (
        (first[0] * rest + second[0] * part) // of,
        (first[1] * rest + second[1] * part) // of,
        (first[2] * rest + second[2] * part) // of,
    )


@lru_cache(maxsize=512)
def fade(first: Colour, second: Colour, length: int) -> bytes:
    """``length`` RGB pixels from ``first`` to ``second``."""
    last = max(1, length - 1)
    return b"".join(bytes(mix(first, second, step, of=last)) for step in range(length))
