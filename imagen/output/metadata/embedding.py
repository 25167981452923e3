"""A record inside an image's bytes: embeds it, removes what must stay private, reads it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from imagen.images.broken import BrokenImage
from imagen.images.verify import ImageFormat, ImageInfo, keep_visual, sniff_format
from imagen.output.metadata import jpeg_texts, png_texts, webp_texts
from imagen.output.metadata.foreign import graphs_in
from imagen.output.metadata.record import keep_safe, parse_record

Mode = Literal["full", "safe", "none"]


class Texts(Protocol):
    """The texts of one file format. Bytes that cannot be read raise ``BrokenImage``."""

    def insert(self, data: bytes, info: ImageInfo, record: Mapping[str, Any]) -> bytes:
        """The file with the record in it, in place of what an earlier call wrote."""

    def find_texts(self, data: bytes) -> list[str]:
        """The texts in it that may be a record of imagen."""


_TEXTS: dict[ImageFormat, Texts] = {"png": png_texts, "jpeg": jpeg_texts, "webp": webp_texts}


def embed(
    data: bytes,
    info: ImageInfo,
    record: Mapping[str, Any],
    *,
    mode: Mode,
    origin: bytes | None = None,
) -> bytes:
    """The image with ``record`` in it; pixels are copied byte for byte, never encoded again.

    ``full`` writes the whole record and keeps what the backend embedded; ``safe`` writes the
    parts without the user's words and removes every other text (ComfyUI's ``prompt``, comments,
    EXIF); ``none`` only removes. What an earlier call wrote is replaced. The same arguments
    give the same bytes.

    ``origin`` is the image as the backend made it, where ``data`` was converted from it: a WebP
    gets the graphs that ComfyUI left there, in ``full``.

    Raises:
        BrokenImage: the bytes are not what ``info`` says.
    """
    texts = _TEXTS[info.format]
    if mode == "none":
        return keep_visual(data, info.format)
    if mode == "safe":
        return texts.insert(keep_visual(data, info.format), info, keep_safe(record))
    if info.format == "webp":
        return webp_texts.insert(data, info, record, graphs_in(origin or data))
    return texts.insert(data, info, record)


def read(data: bytes) -> dict[str, Any] | None:
    """The record that ``embed`` put into these bytes; None where there is none.

    Neither the bytes nor the record can be trusted. No pixel is decoded.
    """
    try:
        texts = _TEXTS[sniff_format(data)].find_texts(data)
    except BrokenImage:
        return None
    records = (parse_record(text) for text in texts)
    return next((record for record in records if record is not None), None)
