"""Checks that a PNG holds all its pixels.

Pillow does not: it fills with black where the compressed data ends early (observed on Pillow
13.0.0).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from imagen.images.broken import BrokenImage
from imagen.images.containers import png

# Samples a pixel, and the bit depths allowed, by colour type.
# Source: PNG specification, third edition, table 11.1.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# First column and row, and the steps between them, of the seven passes of an interlaced image.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_HIGHEST_FILTER = 4


def check_pixels(data: bytes) -> None:
    """Checks that the compressed data unpacks to every row that the header announces.

    Raises:
        BrokenImage: it does not, or the header or a row is not one that PNG knows.
    """
    runs = list(_row_runs(data[16:29]))
    expected = sum(stride * rows for stride, rows in runs)
    unpacked = _unpack(data, expected)
    if len(unpacked) < expected:
        raise BrokenImage(
            f"the PNG cannot be decoded: it has {len(unpacked):,} of {expected:,} bytes of pixels"
        )
    start = 0
    for stride, rows in runs:
        end = start + stride * rows
        if max(unpacked[start:end:stride]) > _HIGHEST_FILTER:
            raise BrokenImage("the PNG cannot be decoded: a row has an unknown filter")
        start = end


def _row_runs(header: bytes) -> Iterator[tuple[int, int]]:
    """(bytes a row with its filter byte, number of rows): once, or for each interlaced pass."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    depth, colour, compression, filtering, interlaced = header[8:13]
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlaced > 1:
        raise BrokenImage("the PNG is damaged: its header is not one that PNG knows")
    bits = depth * _SAMPLES[colour]
    for left, top, across, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -((left - width) // across), -((top - height) // down)
        if columns > 0 and rows > 0:
            yield 1 + (columns * bits + 7) // 8, rows


def _unpack(data: bytes, max_bytes: int) -> bytes:
    chunks = list(png.walk(data))
    has_palette = any(chunk.kind == b"PLTE" for chunk in chunks)
    if data[25] == 3 and not has_palette:
        raise BrokenImage("the PNG cannot be decoded: its palette is missing")
    packed = b"".join(chunk.body(data) for chunk in chunks if chunk.kind == b"IDAT")
    try:
        return zlib.decompressobj().decompress(packed, max_bytes)
    except zlib.error as exc:
        raise BrokenImage("the PNG cannot be decoded: its compressed data is damaged") from exc
