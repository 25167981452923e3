"""EXIF blocks: the smallest one that holds a comment is written, and texts of others are read."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator

_EXIF_POINTER, _USER_COMMENT = 0x8769, 0x9286
_LONG, _UNDEFINED = 4, 7
#: Bytes, ASCII, undefined, and UTF-8 of EXIF 3.0.
_TEXT_TYPES = (1, 2, _UNDEFINED, 129)
# A JPEG segment takes 65,533 bytes; half a kilobyte is left for everything around the text.
_MAX_TEXT_BYTES = 65_000


def write_exif(comment: str) -> bytes:
    """A TIFF block, big-endian, with ``comment`` as its UserComment; cut short if too long."""
    text = comment.encode("utf-16-be", "replace")
    if len(text) > _MAX_TEXT_BYTES:
        text = text[:_MAX_TEXT_BYTES].decode("utf-16-be", "ignore").encode("utf-16-be")
    value = b"UNICODE\0" + text
    header = struct.pack(">2sHL", b"MM", 42, 8)
    # Two directories of one entry each, 18 bytes long; the comment follows them.
    main = struct.pack(">HHHLLL", 1, _EXIF_POINTER, _LONG, 1, 26, 0)
    exif = struct.pack(">HHHLLL", 1, _USER_COMMENT, _UNDEFINED, len(value), 44, 0)
    return header + main + exif + value


def read_exif(block: bytes, tags: Collection[int]) -> dict[int, bytes]:
    """The values of these tags, of the main directory and the one of EXIF, as they stand there.

    Texts only; what is malformed is left out. The work is bounded by two directories: they cannot
    name more, whatever the block says.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return {}
    wanted = frozenset(tags)
    found: dict[int, bytes] = {}
    (main,) = struct.unpack_from(order + "L", block, 4)
    pointer = None
    for tag, kind, count, place in _entries(block, main, order):
        if tag == _EXIF_POINTER and pointer is None:
            (pointer,) = struct.unpack_from(order + "L", block, place)
        elif tag in wanted and tag not in found:
            found[tag] = _text(block, kind, count, place, order)
    for tag, kind, count, place in _entries(block, pointer or len(block), order):
        if tag in wanted and tag not in found:
            found[tag] = _text(block, kind, count, place, order)
    return found


def _entries(block: bytes, start: int, order: str) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, number and the place of the value of each entry of a directory."""
    if start + 2 > len(block):
        return
    (number,) = struct.unpack_from(order + "H", block, start)
    for place in range(start + 2, min(start + 2 + 12 * number, len(block) - 11), 12):
        yield *struct.unpack_from(order + "HHL", block, place), place + 8


def _text(block: bytes, kind: int, count: int, place: int, order: str) -> bytes:
    if kind not in _TEXT_TYPES:
        return b""
    if count > 4:
        (place,) = struct.unpack_from(order + "L", block, place)
    return block[place : place + count] if place + count <= len(block) else b""
