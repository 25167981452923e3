"""Texts in WebP files: an EXIF and an XMP chunk at the end, announced in the extended header."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from imagen.images.containers import webp
from imagen.images.verify import ImageInfo
from imagen.output.metadata.exif import write_exif
from imagen.output.metadata.parameters import write_parameters
from imagen.output.metadata.record import MAX_RECORD_CHARS, TextBudget, write_record
from imagen.output.metadata.xmp import find_record, write_xmp

_TEXT_KINDS = frozenset({b"EXIF", b"XMP "})


_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_NO_GRAPHS: Mapping[str, str] = MappingProxyType({})
# In EXIF's tags for a camera's maker and model ComfyUI writes "workflow:{…}" and "prompt:{…}".
# Source: ComfyUI, comfy_extras/nodes_images.py, SaveAnimatedWEBP (read 2026-11).
_GRAPH_TAGS = {"workflow": 0x010F, "prompt": 0x0110}


def insert(
    data: bytes, info: ImageInfo, record: Mapping[str, Any], graphs: Mapping[str, str] = _NO_GRAPHS
) -> bytes:
    text = write_record(record, fits=lambda text: len(text) <= MAX_RECORD_CHARS)
    chunks = [(kind, body) for kind, body in _read(data) if kind not in _TEXT_KINDS]
    if chunks[0][0] != b"VP8X":
        chunks.insert(0, (b"VP8X", _extended_header(info, *chunks[0])))
    chunks[0] = webp.announce_texts(chunks[0][1], webp.EXIF | webp.XMP)
    tags = {_GRAPH_TAGS[name]: f"{name}:{_in_ascii(text)}" for name, text in graphs.items()}
    chunks.append((b"EXIF", write_exif(write_parameters(record), tags)))
    chunks.append((b"XMP ", write_xmp(record, embedded=text)))
    return webp.assemble(chunks)


def _in_ascii(graph: str) -> str:
    """The JSON as ComfyUI writes it: every other character escaped."""
    return _NOT_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], graph)


def find_texts(data: bytes) -> list[str]:
    """The records in the file's XMP chunks."""
    return [find_record(body) for body in _bodies(data, b"XMP ")]


def find_exif(data: bytes) -> bytes:
    """The file's first EXIF block, b"" where it has none."""
    return next(_bodies(data, b"EXIF"), b"").removeprefix(b"Exif\0\0")


def _bodies(data: bytes, kind: bytes) -> Iterator[bytes]:
    """The bodies of these chunks, as far as the budget goes."""
    budget = TextBudget()
    for chunk in webp.walk(data):
        if chunk.kind == kind and budget.take(chunk.end - chunk.start):
            yield chunk.body(data)


def _read(data: bytes) -> list[tuple[bytes, bytes]]:
    return [(chunk.kind, chunk.body(data)) for chunk in webp.walk(data)]


def _extended_header(info: ImageInfo, kind: bytes, body: bytes) -> bytes:
    # Bit 28 of a lossless image's header says whether it uses transparency. Source: RFC 9649.
    has_alpha = kind == b"VP8L" and int.from_bytes(body[1:5], "little") >> 28 & 1
    flags = webp.ALPHA if has_alpha else 0
    sides = (info.width - 1, info.height - 1)
    return bytes((flags, 0, 0, 0)) + b"".join(side.to_bytes(3, "little") for side in sides)
