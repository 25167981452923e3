"""WebP files as a row of RIFF chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from imagen.images.broken import BrokenImage

#: A single image has a handful, an animation two for each frame.
MAX_CHUNKS = 10_000

_VISUAL_KINDS = frozenset({b"VP8X", b"ICCP", b"ALPH", b"VP8 ", b"VP8L"})

# Flags of the extended header, VP8X. Source: RFC 9649, section 2.7.
ANIMATION, XMP, EXIF, ALPHA, ICC = 0x02, 0x04, 0x08, 0x10, 0x20


class WebpChunk(NamedTuple):
    """The position of a chunk's body: ``data[start:end]``, padding not included."""

    kind: bytes
    start: int
    end: int

    def body(self, data: bytes) -> bytes:
        return data[self.start : self.end]


def is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def walk(data: bytes) -> Iterator[WebpChunk]:
    """Every chunk inside the RIFF size; bytes after it are ignored.

    Raises:
        BrokenImage: the file is shorter than it says, a chunk does not fit into it, or there are
            more chunks than any image has.
    """
    end_of_file = 8 + int.from_bytes(data[4:8], "little")
    if end_of_file > len(data):
        raise BrokenImage(f"the WebP is cut off: {len(data):,} of {end_of_file:,} bytes are there")
    position = 12
    for _ in range(MAX_CHUNKS):
        if position + 8 > end_of_file:
            return
        start = position + 8
        end = start + int.from_bytes(data[position + 4 : start], "little")
        if end > end_of_file:
            raise BrokenImage("the WebP is damaged: a chunk is longer than the file")
        yield WebpChunk(data[position : position + 4], start, end)
        position = end + (end - start) % 2
    raise BrokenImage(f"the WebP has more than {MAX_CHUNKS:,} chunks, which no image needs")


def read_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels: of the canvas where there is one, else of the image.

    Raises:
        BrokenImage: the first chunk is not one an image can begin with.
    """
    first = next(walk(data), WebpChunk(b"", 0, 0))
    body = data[first.start : min(first.end, first.start + 10)]
    if first.kind == b"VP8X" and len(body) == 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if first.kind == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if first.kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        width = int.from_bytes(body[6:8], "little") & 0x3FFF
        return width, int.from_bytes(body[8:10], "little") & 0x3FFF
    raise BrokenImage("the WebP is cut off or damaged: it has no header")


def is_animated(data: bytes) -> bool:
    """Whether the extended header announces an animation."""
    first = next(walk(data), None)
    return first is not None and first.kind == b"VP8X" and bool(data[first.start] & ANIMATION)


def keep_visual(data: bytes) -> bytes:
    """The file reduced to the parts that decide how its pixels look."""
    chunks = [(chunk.kind, chunk.body(data)) for chunk in walk(data) if chunk.kind in _VISUAL_KINDS]
    if chunks and chunks[0][0] == b"VP8X":
        chunks[0] = announce_texts(chunks[0][1], 0)
    return assemble(chunks)


def announce_texts(header: bytes, flags: int) -> tuple[bytes, bytes]:
    """The chunk of the extended header, which announces just these texts (EXIF, XMP)."""
    return b"VP8X", bytes(((header[0] & ~(EXIF | XMP)) | flags,)) + header[1:]


def assemble(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A whole file from (kind, body) pairs, padded and with the right size in front."""
    parts: list[bytes] = []
    for kind, body in chunks:
        parts += (kind, len(body).to_bytes(4, "little"), body, b"\0" * (len(body) % 2))
    content = b"WEBP" + b"".join(parts)
    return b"RIFF" + len(content).to_bytes(4, "little") + content
