"""Image sizes, written ``WIDTHxHEIGHT`` in pixels."""

from __future__ import annotations

import re
from dataclasses import dataclass

from imagen.errors import RequestError

MIN_SIDE = 64
MAX_SIDE = 4096


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels, each 64..4096."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


DEFAULT_SIZE = Size(1024, 1024)


def parse_size(text: str) -> Size:
    """The size that ``text`` names, such as ``1024x768``.

    Raises:
        RequestError: the text is not ``WxH``, or a side is outside 64..4096.
    """
    match = re.fullmatch(r"\s*([0-9]{1,9})\s*[xX]\s*([0-9]{1,9})\s*", text, re.ASCII)
    if not match:
        raise RequestError(f"size {text!r} is not WIDTHxHEIGHT", "for example: --size 1024x768")
    width, height = int(match[1]), int(match[2])
    for name, side in (("width", width), ("height", height)):
        if not MIN_SIDE <= side <= MAX_SIDE:
            raise RequestError(
                f"size {text!r}: {name} {side} is outside {MIN_SIDE}..{MAX_SIDE} pixels",
                "for example: --size 1024x768",
            )
    return Size(width, height)
