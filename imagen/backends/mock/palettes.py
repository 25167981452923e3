"""The colours of the mock backend's landscapes: one palette a time of day."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """Sky from top to horizon, the light in it, and the hills from the farthest to the nearest."""

    name: str
    sky_top: Colour
    sky_bottom: Colour
    light: Colour
    far: Colour
    near: Colour
    is_night: bool = False


def _palette(name: str, colours: str, *, is_night: bool = False) -> Palette:
    top, bottom, light, far, near = (_parse(colour) for colour in colours.split())
    return Palette(name, top, bottom, light, far, near, is_night)


def _parse(colour: str) -> Colour:
    red, green, blue = bytes.fromhex(colour)
    return red, green, blue


PALETTES = (
    _palette("dawn", "f4a58a fde6c4 fff7e3 e9ab9c 533a5f"),
    _palette("dusk", "2f2f62 f48f6f ffd98a b65f80 1d1a38"),
    _palette("mint", "a9d8d6 f7f4e2 fff6cf 9fd0c4 1b5556"),
    _palette("desert", "f7c98b fbe7c2 f2784b eeb07a 6b2b1d"),
    _palette("night", "0a0f2c 33447f f6f1dc 40509a 060a1c", is_night=True),
    _palette("alpine", "5fa6dc e9f5f9 fffce8 a6c8de 223f58"),
    _palette("rose", "f3b3c0 fff0e4 f07f80 dcaab4 4b2c46"),
    _palette("aurora", "04202b 1f7a78 e9f8ee 2c8482 03151b", is_night=True),
    _palette("meadow", "bfe0ea fdf8de f5b73a b5cf9a 274a2c"),
    _palette("violet", "5b4391 f6c3dc fff3f6 a988c6 271a3c"),
)


def find_palette(name: str, *, otherwise: Palette) -> Palette:
    """The palette of that name, or ``otherwise`` where there is none."""
    return next((palette for palette in PALETTES if palette.name == name), otherwise)


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
