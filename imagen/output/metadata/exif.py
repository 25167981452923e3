"""The smallest EXIF block that holds a comment: where tools look for parameters without PNG."""

from __future__ import annotations

import struct

_EXIF_POINTER, _USER_COMMENT = 0x8769, 0x9286
_LONG, _UNDEFINED = 4, 7
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
