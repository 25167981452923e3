"""Which module knows the texts of which format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from imagen.images.verify import ImageFormat, ImageInfo
from imagen.output.metadata import jpeg_texts, png_texts, webp_texts


class Texts(Protocol):
    """What each of those modules offers. All raise ``BrokenImage`` for bytes they cannot walk."""

    def insert(self, data: bytes, info: ImageInfo, record: Mapping[str, Any]) -> bytes:
        """The file with the record in it, in place of what an earlier call wrote."""

    def strip(self, data: bytes) -> bytes:
        """The file with nothing in it but what decides how its pixels look."""

    def find_texts(self, data: bytes) -> list[str]:
        """The texts in it that may be a record of ours."""


def texts_of(image_format: ImageFormat) -> Texts:
    """The module for this format."""
    formats: dict[ImageFormat, Texts] = {
        "png": png_texts,
        "jpeg": jpeg_texts,
        "webp": webp_texts,
    }
    return formats[image_format]
