"""JPEG files as a row of segments, up to the entropy-coded data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from imagen.images.broken import BrokenImage

START = b"\xff\xd8"
END = b"\xff\xd9"

START_OF_SCAN = 0xDA
# JFIF, EXIF and XMP, colour profiles, Adobe's colour transform, comments.
APP0, APP1, APP2, APP14, COMMENT = 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
#: The longest body a segment can have: its length field counts itself.
MAX_BODY_BYTES = 65_533

# In entropy-coded data FF is followed by 00 or by a restart marker, D0..D7; FF may fill.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

# The markers C0..CF are frame headers, but for three tables that live among them.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class Segment(NamedTuple):
    """Where a segment stands: ``data[start:end]`` is all of it, marker and length included."""

    marker: int
    start: int
    end: int

    def body(self, data: bytes) -> bytes:
        return data[self.start + 4 : self.end]


def walk(data: bytes) -> Iterator[Segment]:
    """Every segment from the start to the first start of scan; that one runs to the file's end.

    Raises:
        BrokenImage: the file ends before its pixels begin, or a marker is missing.
    """
    position = len(START)
    while True:
        while data[position : position + 2] == b"\xff\xff":  # fill bytes before a marker
            position += 1
        if position + 4 > len(data):
            raise BrokenImage("the JPEG is cut off before its pixels begin")
        if data[position] != 0xFF:
            raise BrokenImage("the JPEG is damaged: a marker is missing")
        marker = data[position + 1]
        if marker == START_OF_SCAN:
            yield Segment(marker, position, len(data))
            return
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        end = position + 2 + length
        if length < 2 or end > len(data):
            raise BrokenImage("the JPEG is cut off before its pixels begin")
        yield Segment(marker, position, end)
        position = end


def read_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the frame header.

    Raises:
        BrokenImage: there is no frame header before the pixels.
    """
    for segment in walk(data):
        if segment.marker in _FRAMES and segment.end - segment.start >= 9:
            height = int.from_bytes(data[segment.start + 5 : segment.start + 7], "big")
            width = int.from_bytes(data[segment.start + 7 : segment.start + 9], "big")
            return width, height
    raise BrokenImage("the JPEG is damaged: it has no frame header")


def find_end(data: bytes) -> int:
    """Where the file really ends: just after its end marker, whatever follows.

    Raises:
        BrokenImage: there is no end marker after the scans.
    """
    *_, scan = walk(data)
    position = scan.start
    while True:
        # A scan's header, or a table between two scans of a progressive image.
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        found = _MARKER.search(data, position)
        if found is None:
            raise BrokenImage("the JPEG is cut off: it has no end marker")
        if found[0] == END:
            return found.end()
        position = found.start()


def keep_visual(data: bytes) -> bytes:
    """The file with nothing in it but what decides how its pixels look.

    Further images behind the end marker (MPO) go, and with them the segment that lists them.
    """
    end = find_end(data)
    kept = (
        data[segment.start : min(segment.end, end)]
        for segment in walk(data)
        if _is_visual(data, segment)
    )
    return START + b"".join(kept)


def _is_visual(data: bytes, segment: Segment) -> bool:
    if segment.marker == APP2:
        return data.startswith(b"ICC_PROFILE\0", segment.start + 4)
    is_app = 0xE0 <= segment.marker <= 0xEF
    return segment.marker in (APP0, APP14) or not (is_app or segment.marker == COMMENT)


def make_segment(marker: int, body: bytes) -> bytes:
    """A whole segment, marker and length included; ``body`` is at most MAX_BODY_BYTES long."""
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body
