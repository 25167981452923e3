"""Texts in PNG files: chunks right after the header, where every reader sees them."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from imagen.images.containers import png
from imagen.images.verify import ImageInfo
from imagen.output.metadata.parameters import write_parameters
from imagen.output.metadata.record import MAX_RECORD_CHARS, TextBudget, write_record
from imagen.output.metadata.xmp import write_xmp

_RECORD_KEY = b"imagen"
_XMP_KEY = b"XML:com.adobe.xmp"
_PARAMETERS_KEY = b"parameters"
_OUR_KEYS = frozenset({_RECORD_KEY, _XMP_KEY, _PARAMETERS_KEY})
_TEXT_KINDS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_RAW_EXIF = "Raw profile type exif"
#: How much is unpacked at a time.
_STEP_BYTES = 256 * 1024


def insert(data: bytes, info: ImageInfo, record: Mapping[str, Any]) -> bytes:  # noqa: ARG001  # see Texts
    text = write_record(record, fits=lambda text: len(text) <= MAX_RECORD_CHARS)
    extra = (
        _text_chunk(_RECORD_KEY, text)
        + _text_chunk(_XMP_KEY, write_xmp(record).decode())
        + _plain_text_chunk(_PARAMETERS_KEY, write_parameters(record))
    )
    return png.rebuild(data, keep=lambda chunk: not _is_ours(data, chunk), extra=extra)


def find_texts(data: bytes) -> list[str]:
    """Every text under imagen's own key, as far as the budget goes."""
    return [text for _, text in _texts(data, {_RECORD_KEY})]


def find_named(data: bytes, names: Collection[str]) -> dict[str, str]:
    """The texts with these keys, by any program; the first one where a key comes twice."""
    found: dict[str, str] = {}
    for key, text in _texts(data, {name.encode("latin-1") for name in names}):
        found.setdefault(key.decode("latin-1"), text)
    return found


def find_exif(data: bytes) -> bytes:
    """The file's first EXIF block, b"" where it has none."""
    budget = TextBudget()
    for chunk in png.walk(data):
        if chunk.kind == b"eXIf" and budget.take(chunk.end - chunk.start):
            return chunk.body(data)
    return _raw_profile(find_named(data, {_RAW_EXIF}).get(_RAW_EXIF, ""))


def _texts(data: bytes, keys: Collection[bytes]) -> Iterator[tuple[bytes, str]]:
    """Key and text of each text chunk with one of these keys, as far as the budget goes."""
    budget = TextBudget()
    for chunk in png.walk(data):
        if chunk.kind in _TEXT_KINDS and (key := _key(data, chunk)) in keys:
            if chunk.end - chunk.start > budget.left_bytes:
                continue
            yield key, _unpack(chunk.kind, chunk.body(data), budget)


def _raw_profile(text: str) -> bytes:
    """The EXIF block in hexadecimal, as ImageMagick 6 wrote it: behind a name and a length."""
    try:
        return bytes.fromhex("".join(text.split()[2:])).removeprefix(b"Exif\0\0")
    except ValueError:
        return b""


def _is_ours(data: bytes, chunk: png.PngChunk) -> bool:
    return chunk.kind in _TEXT_KINDS and _key(data, chunk) in _OUR_KEYS


def _key(data: bytes, chunk: png.PngChunk) -> bytes:
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


def _unpack(kind: bytes, body: bytes, budget: TextBudget) -> str:
    """A chunk's text, or "" where it is malformed or too long."""
    _, _, rest = body.partition(b"\0")
    if kind == b"zTXt":
        return _inflate(rest[1:], budget).decode("latin-1")
    budget.take(len(body))
    if kind == b"tEXt":
        return rest.decode("latin-1")
    is_packed, (_, _, text) = rest[:1] == b"\1", _split_itxt(rest[2:])
    return (_inflate(text, budget) if is_packed else text).decode(errors="replace")


def _split_itxt(rest: bytes) -> tuple[bytes, bytes, bytes]:
    language, _, rest = rest.partition(b"\0")
    translated_key, _, text = rest.partition(b"\0")
    return language, translated_key, text


def _inflate(packed: bytes, budget: TextBudget) -> bytes:
    """The text; b"" where it exceeds the budget, from which the attempt is taken too."""
    unpacker = zlib.decompressobj()
    parts: list[bytes] = []
    while not unpacker.eof and budget.take(_STEP_BYTES):
        try:
            parts.append(unpacker.decompress(packed, _STEP_BYTES))
        except zlib.error:
            return b""
        packed = unpacker.unconsumed_tail
        if not parts[-1] and not packed:
            return b""
    if not unpacker.eof:
        return b""
    budget.give_back(_STEP_BYTES - len(parts[-1]))
    return b"".join(parts)
