"""PNG files as a row of chunks."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from imagen.images.broken import BrokenImage

SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: Encoders divide pixels into chunks of 8 KiB or more: this is enough for half a gigabyte of them.
MAX_CHUNKS = 65_536

# Chunks that decide how the pixels look. All others are metadata.
_VISUAL_KINDS = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT bKGD pHYs cICP mDCV cLLI".split()
)


class PngChunk(NamedTuple):
    """The position of a chunk: ``data[start:end]`` is all of it, length and CRC included."""

    kind: bytes
    start: int
    end: int

    def body(self, data: bytes) -> bytes:
        return data[self.start + 8 : self.end - 4]


def walk(data: bytes) -> Iterator[PngChunk]:
    """Every chunk up to and including IEND; bytes after it are ignored.

    Raises:
        BrokenImage: the file ends before IEND, a length is not plausible, or there are more chunks
            than any image has.
    """
    position = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if position + 12 > len(data):
            raise BrokenImage("the PNG is cut off: it has no end marker")
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        if end > len(data):
            raise BrokenImage(f"the PNG is cut off inside its chunk {kind!r}")
        yield PngChunk(kind, position, end)
        if kind == b"IEND":
            return
        position = end
    raise BrokenImage(f"the PNG has more than {MAX_CHUNKS:,} chunks, which no image needs")


def check_crc(data: bytes, chunk: PngChunk) -> None:
    """Checks the chunk's checksum.

    Raises:
        BrokenImage: the checksum is wrong.
    """
    with memoryview(data) as view:
        actual = zlib.crc32(view[chunk.start + 4 : chunk.end - 4])
    if actual != int.from_bytes(data[chunk.end - 4 : chunk.end], "big"):
        raise BrokenImage(f"the PNG is damaged: wrong checksum of its chunk {chunk.kind!r}")


def read_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header.

    Raises:
        BrokenImage: the file does not begin with a header.
    """
    if len(data) < 33 or data[8:16] != b"\x00\x00\x00\x0dIHDR":
        raise BrokenImage("the PNG is cut off or damaged: it has no header")
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def make_chunk(kind: bytes, body: bytes) -> bytes:
    """A whole chunk, length and CRC included."""
    return b"".join(
        (len(body).to_bytes(4, "big"), kind, body, zlib.crc32(kind + body).to_bytes(4, "big"))
    )


def keep_visual(data: bytes) -> bytes:
    """The file reduced to the parts that decide how its pixels look."""
    return rebuild(data, keep=lambda chunk: chunk.kind in _VISUAL_KINDS)


def rebuild(data: bytes, *, keep: Callable[[PngChunk], bool], extra: bytes = b"") -> bytes:
    """The file with the chunks for which ``keep`` is true, and ``extra`` right after the header.

    Chunks are copied as they are, so the pixels stay the same to the byte.
    """
    parts = [SIGNATURE]
    for chunk in walk(data):
        if chunk.kind == b"IHDR":
            parts += (data[chunk.start : chunk.end], extra)
        elif keep(chunk):
            parts.append(data[chunk.start : chunk.end])
    return b"".join(parts)
