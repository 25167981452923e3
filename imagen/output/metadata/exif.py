"""EXIF blocks: writes the smallest one with a comment, and reads the texts of any."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

_EXIF_POINTER, _USER_COMMENT = 0x8769, 0x9286
_ASCII, _LONG, _UNDEFINED = 2, 4, 7
#: Bytes, ASCII, undefined, and UTF-8 of EXIF 3.0.
_TEXT_TYPES = (1, 2, _UNDEFINED, 129)
# A JPEG segment takes 65,533 bytes; half a kilobyte is left for everything around the text.
_MAX_TEXT_BYTES = 65_000
_NO_TAGS: Mapping[int, str] = MappingProxyType({})


def write_exif(comment: str, tags: Mapping[int, str] = _NO_TAGS) -> bytes:
    """A TIFF block, big-endian, with ``comment`` as its UserComment; cut short if too long.

    ``tags`` are further texts in ASCII, for the main directory.
    """
    text = comment.encode("utf-16-be", "replace")
    if len(text) > _MAX_TEXT_BYTES:
        text = text[:_MAX_TEXT_BYTES].decode("utf-16-be", "ignore").encode("utf-16-be")
    value = b"UNICODE\0" + text
    values = {tag: tags[tag].encode("ascii", "replace") + b"\0" for tag in sorted(tags)}
    # The main directory, the EXIF directory with its single entry, and then the values of both.
    exif_at = 8 + 6 + 12 * (len(values) + 1)
    value_at = exif_at + 6 + 12
    exif = struct.pack(">HHHLLL", 1, _USER_COMMENT, _UNDEFINED, len(value), value_at, 0)
    offset, entries = value_at + len(value), b""
    for tag, text in values.items():
        # Four bytes and less would stand in the entry itself; these texts are longer.
        entries += struct.pack(">HHLL", tag, _ASCII, len(text), offset)
        offset += len(text)
    entries += struct.pack(">HHLL", _EXIF_POINTER, _LONG, 1, exif_at)
    main = struct.pack(">H", len(values) + 1) + entries + struct.pack(">L", 0)
    header = struct.pack(">2sHL", b"MM", 42, 8)
    return b"".join((header, main, exif, value, *values.values()))


def read_exif(block: bytes, tags: Collection[int]) -> dict[int, bytes]:
    """The values of these tags, of the main directory and the one of EXIF, as they stand there.

    Texts only; malformed ones are left out. Only two directories are read, which bounds the
    work.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return {}
    wanted = frozenset(tags)
    found: dict[int, bytes] = {}
    (main,) = struct.unpack_from(order + "L", block, 4)
    pointer = None
    for tag, kind, count, offset in _entries(block, main, order):
        if tag == _EXIF_POINTER and pointer is None:
            (pointer,) = struct.unpack_from(order + "L", block, offset)
        elif tag in wanted and tag not in found:
            found[tag] = _text(block, kind, count, offset, order)
    for tag, kind, count, offset in _entries(block, pointer or len(block), order):
        if tag in wanted and tag not in found:
            found[tag] = _text(block, kind, count, offset, order)
    return found


def _entries(block: bytes, start: int, order: str) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, number and the offset of the value of each entry of a directory."""
    if start + 2 > len(block):
        return
    (number,) = struct.unpack_from(order + "H", block, start)
    for offset in range(start + 2, min(start + 2 + 12 * number, len(block) - 11), 12):
        yield *struct.unpack_from(order + "HHL", block, offset), offset + 8


def _text(block: bytes, kind: int, count: int, offset: int, order: str) -> bytes:
    if kind not in _TEXT_TYPES:
        return b""
    if count > 4:
        (offset,) = struct.unpack_from(order + "L", block, offset)
    return block[offset : offset + count] if offset + count <= len(block) else b""
