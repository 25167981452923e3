"""Putting a record into an image's bytes, and taking out what must not travel with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from imagen.images.verify import ImageInfo
from imagen.output.metadata import webp_texts
from imagen.output.metadata.foreign import graphs_in
from imagen.output.metadata.formats import texts_of
from imagen.output.metadata.record import keep_safe

Mode = Literal["full", "safe", "none"]


def embed(
    data: bytes,
    info: ImageInfo,
    record: Mapping[str, Any],
    *,
    mode: Mode,
    origin: bytes | None = None,
) -> bytes:
    """The image with ``record`` in it; pixels are copied byte for byte, never encoded again.

    ``full`` writes the whole record and leaves what the backend embedded; ``safe`` writes what
    holds no word of the user's and takes out every other text (ComfyUI's ``prompt``, comments,
    EXIF); ``none`` only takes out. What an earlier call wrote is replaced. The same arguments
    give the same bytes.

    ``origin`` is the image as the backend made it, where ``data`` was converted from it: a WebP
    gets the graphs that ComfyUI left there, in ``full``.

    Raises:
        BrokenImage: the bytes are not what ``info`` says.
    """
    texts = texts_of(info.format)
    if mode == "none":
        return texts.strip(data)
    if mode == "safe":
        return texts.insert(texts.strip(data), info, keep_safe(record))
    if info.format == "webp":
        return webp_texts.insert(data, info, record, graphs_in(origin or data))
    return texts.insert(data, info, record)
