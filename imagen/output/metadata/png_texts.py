"""Texts in PNG files: chunks right after the header, where every reader sees them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from imagen.images.containers import png
from imagen.images.verify import ImageInfo
from imagen.output.metadata.parameters import write_parameters
from imagen.output.metadata.record import MAX_TEXT_BYTES, write_record
from imagen.output.metadata.xmp import write_xmp

_RECORD_KEY = b"imagen"
_XMP_KEY = b"XML:com.adobe.xmp"
_PARAMETERS_KEY = b"parameters"
_OUR_KEYS = frozenset({_RECORD_KEY, _XMP_KEY, _PARAMETERS_KEY})
_TEXT_KINDS = frozenset({b"tEXt", b"zTXt", b"iTXt"})


def insert(data: bytes, info: ImageInfo, record: Mapping[str, Any]) -> bytes:  # noqa: ARG001  # see Texts
    text = write_record(record, fits=lambda text: len(text) <= MAX_TEXT_BYTES // 4)
    extra = (
        _text_chunk(_RECORD_KEY, text)
        + _text_chunk(_XMP_KEY, write_xmp(record).decode())
        + _plain_text_chunk(_PARAMETERS_KEY, write_parameters(record))
    )
    return png.rebuild(data, keep=lambda chunk: not _is_ours(data, chunk), extra=extra)


def strip(data: bytes) -> bytes:
    return png.keep_visual(data)


def find_texts(data: bytes) -> list[str]:
    """Every text under imagen's own key."""
    return [
        _unpack(chunk.kind, chunk.body(data))
        for chunk in png.walk(data)
        if chunk.kind in _TEXT_KINDS and _key(data, chunk) == _RECORD_KEY
    ]


def find_all(data: bytes) -> dict[str, str]:
    """Every text by its key, whoever wrote it; the first one where a key comes twice."""
    found: dict[str, str] = {}
    for chunk in png.walk(data):
        if chunk.kind in _TEXT_KINDS:
            key = _key(data, chunk).decode("latin-1")
            found.setdefault(key, _unpack(chunk.kind, chunk.body(data)))
    return found


def _is_ours(data: bytes, chunk: png.Chunk) -> bool:
    return chunk.kind in _TEXT_KINDS and _key(data, chunk) in _OUR_KEYS


def _key(data: bytes, chunk: png.Chunk) -> bytes:
    # A keyword has 79 bytes at most. Source: PNG specification, third edition, 11.3.3.
    return data[chunk.start + 8 : min(chunk.end - 4, chunk.start + 88)].partition(b"\0")[0]


def _text_chunk(key: bytes, text: str) -> bytes:
    """An iTXt chunk, not compressed: compressors differ in their output between versions."""
    return png.make_chunk(b"iTXt", key + b"\0\0\0\0\0" + text.encode(errors="replace"))


def _plain_text_chunk(key: bytes, text: str) -> bytes:
    """A tEXt chunk, which old readers know, wherever Latin-1 can hold the text."""
    text = text.replace("\0", "")
    try:
        return png.make_chunk(b"tEXt", key + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        return _text_chunk(key, text)


def _unpack(kind: bytes, body: bytes) -> str:
    """A chunk's text, or "" where it is malformed or too long."""
    _, _, rest = body.partition(b"\0")
    if kind == b"tEXt":
        return rest.decode("latin-1")
    if kind == b"zTXt":
        return _inflate(rest[1:]).decode("latin-1")
    is_packed, (_, _, text) = rest[:1] == b"\1", _split_itxt(rest[2:])
    return (_inflate(text) if is_packed else text).decode(errors="replace")


def _split_itxt(rest: bytes) -> tuple[bytes, bytes, bytes]:
    language, _, rest = rest.partition(b"\0")
    translated_key, _, text = rest.partition(b"\0")
    return language, translated_key, text


def _inflate(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(packed, MAX_TEXT_BYTES)
    except zlib.error:
        return b""
    return text if unpacker.eof else b""
