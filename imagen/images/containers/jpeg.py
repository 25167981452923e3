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
#: A profile takes up to 255 segments, and a long XMP some hundred.
MAX_SEGMENTS = 10_000
#: The standard allows any number of FF before a marker; writers use one or two, to align.
MAX_FILL_BYTES = 4_096
#: Each decodes the whole image anew, and a progressive image has about ten, with their tables.
MAX_SCAN_SEGMENTS = 500

# In entropy-coded data FF is followed by 00 or by a restart marker, D0..D7; FF may fill.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

# The markers C0..CF are frame headers, but for three tables that live among them.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class JpegSegment(NamedTuple):
    """The position of a segment: ``data[start:end]`` is all of it, marker and length included."""

    marker: int
    start: int
    end: int

    def body(self, data: bytes) -> bytes:
        return data[self.start + 4 : self.end]


def walk(data: bytes) -> Iterator[JpegSegment]:
    """Every segment from the start to the first start of scan; that one runs to the file's end.

    Raises:
        BrokenImage: the file ends before its pixels begin, a marker is missing, or there are more
            segments than any image has.
    """
    position = len(START)
    for _ in range(MAX_SEGMENTS):
        if data[position : position + 2] == b"\xff\xff":
            position += _count_fill(data, position)
        if position + 4 > len(data):
            raise BrokenImage("the JPEG is cut off before its pixels begin")
        if data[position] != 0xFF:
            raise BrokenImage("the JPEG is damaged: a marker is missing")
        marker = data[position + 1]
        if marker == START_OF_SCAN:
            yield JpegSegment(marker, position, len(data))
            return
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        end = position + 2 + length
        if length < 2 or end > len(data):
            raise BrokenImage("the JPEG is cut off before its pixels begin")
        yield JpegSegment(marker, position, end)
        position = end
    raise BrokenImage(f"the JPEG has more than {MAX_SEGMENTS:,} segments, which no image needs")


def _count_fill(data: bytes, position: int) -> int:
    """How many FF stand at ``position`` before the one that begins a marker."""
    run = data[position : position + MAX_FILL_BYTES + 1]
    rest = run.lstrip(b"\xff")
    if not rest and len(run) > MAX_FILL_BYTES:
        raise BrokenImage(f"the JPEG has more than {MAX_FILL_BYTES:,} fill bytes in a row")
    return len(run) - len(rest) - 1


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
        BrokenImage: there is no end marker after the scans, or there are too many of them.
    """
    *_, scan = walk(data)
    position = scan.start
    for _ in range(MAX_SCAN_SEGMENTS):
        # A scan's header, or a table between two scans of a progressive image.
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        found = _MARKER.search(data, position)
        if found is None:
            raise BrokenImage("the JPEG is cut off: it has no end marker")
        if found[0] == END:
            return found.end()
        position = found.start()
    raise BrokenImage(f"the JPEG has more than {MAX_SCAN_SEGMENTS} scans and tables among them")


def keep_visual(data: bytes) -> bytes:
    """The file reduced to the parts that decide how its pixels look.

    Further images behind the end marker (MPO) go, and with them the segment that lists them.
    """
    end = find_end(data)
    kept = (
        data[segment.start : min(segment.end, end)]
        for segment in walk(data)
        if _is_visual(data, segment)
    )
    return START + b"".join(kept)


def _is_visual(data: bytes, segment: JpegSegment) -> bool:
    if segment.marker == APP2:
        return data.startswith(b"ICC_PROFILE\0", segment.start + 4)
    is_app = 0xE0 <= segment.marker <= 0xEF
    return segment.marker in (APP0, APP14) or not (is_app or segment.marker == COMMENT)


def make_segment(marker: int, body: bytes) -> bytes:
    """A whole segment, marker and length included; ``body`` is at most MAX_BODY_BYTES long."""
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body
