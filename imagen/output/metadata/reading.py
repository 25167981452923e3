"""What an image says about itself, from its own bytes."""

from __future__ import annotations

from typing import Any

from imagen.images.broken import BrokenImage
from imagen.images.verify import sniff_format
from imagen.output.metadata.formats import texts_of
from imagen.output.metadata.record import parse_record


def read(data: bytes) -> dict[str, Any] | None:
    """The record that ``embed`` put into these bytes, or nothing: not ours, or not an image.

    The bytes are not trusted, and neither should the record be. No pixel is decoded.
    """
    try:
        texts = texts_of(sniff_format(data)).find_texts(data)
    except BrokenImage:
        return None
    records = (parse_record(text) for text in texts)
    return next((record for record in records if record is not None), None)
