"""Texts in JPEG files: an EXIF segment and an XMP segment, behind the JFIF header."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from imagen.images.containers import jpeg
from imagen.images.verify import ImageInfo
from imagen.output.metadata.exif import write_exif
from imagen.output.metadata.parameters import write_parameters
from imagen.output.metadata.record import TextBudget, write_record
from imagen.output.metadata.xmp import find_record, write_xmp

_EXIF_HEADER = b"Exif\0\0"
_XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_MAX_XMP_BYTES = jpeg.MAX_BODY_BYTES - len(_XMP_HEADER)


def insert(data: bytes, info: ImageInfo, record: Mapping[str, Any]) -> bytes:  # noqa: ARG001  # see Texts
    text = write_record(
        record, fits=lambda text: len(write_xmp(record, embedded=text)) <= _MAX_XMP_BYTES
    )
    exif = _EXIF_HEADER + write_exif(write_parameters(record))
    xmp = _XMP_HEADER + write_xmp(record, embedded=text)
    head, rest = _split(data)
    return b"".join(
        (
            head,
            jpeg.make_segment(jpeg.APP1, exif),
            jpeg.make_segment(jpeg.APP1, xmp),
            rest,
        )
    )


def find_texts(data: bytes) -> list[str]:
    """The records in the file's XMP segments."""
    return [find_record(body) for body in _bodies(data, _XMP_HEADER)]


def find_exif(data: bytes) -> bytes:
    """The file's EXIF block, which may go over several segments; b"" where it has none."""
    return b"".join(_bodies(data, _EXIF_HEADER))


def _bodies(data: bytes, header: bytes) -> Iterator[bytes]:
    """What follows ``header`` in the segments that begin with it, as far as the budget goes."""
    budget = TextBudget()
    for segment in jpeg.walk(data):
        if segment.marker == jpeg.APP1 and data.startswith(header, segment.start + 4):
            start = segment.start + 4 + len(header)
            if budget.take(segment.end - start):
                yield data[start : segment.end]


def _split(data: bytes) -> tuple[bytes, bytes]:
    """Start marker and JFIF header; and the rest, without EXIF and XMP, which ours replace."""
    head, rest = [jpeg.START], list[bytes]()
    end = jpeg.find_end(data)
    for segment in jpeg.walk(data):
        if segment.marker != jpeg.APP1:
            part = data[segment.start : min(segment.end, end)]
            (head if segment.marker == jpeg.APP0 and not rest else rest).append(part)
    return b"".join(head), b"".join(rest)
