"""Converts an image to the format that the user asked for."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from imagen.images.verify import ImageFormat, inspect_image, keep_visual

# Modes that each encoder takes as they are; anything else is brought to RGB or RGBA first.
_NATIVE_MODES: dict[ImageFormat, frozenset[str]] = {
    "png": frozenset({"1", "L", "LA", "I;16", "P", "RGB", "RGBA"}),
    "jpeg": frozenset({"L", "RGB"}),
    "webp": frozenset({"RGB", "RGBA"}),
}
_OPTIONS: dict[ImageFormat, dict[str, Any]] = {
    "png": {"compress_level": 6},
    # subsampling 0 is 4:4:4: text and hard edges, which drawings are full of, keep their colour.
    "jpeg": {"quality": 92, "subsampling": 0},
    "webp": {"quality": 90, "method": 4},
}


def convert_image(data: bytes, to_format: ImageFormat) -> bytes:
    """The same image as ``to_format``; the same bytes where it is that already.

    PNG is lossless, JPEG quality 92 without colour subsampling and with transparency laid on
    white, WebP quality 90. The colour profile is kept, other metadata is not. Blocks while it
    encodes: for a megapixel some 10 ms (JPEG) to 200 ms (WebP).

    Raises:
        BrokenImage: ``data`` is no whole image.
    """
    info = inspect_image(data)
    if info.format == to_format:
        return data
    visual = keep_visual(data, info.format)
    with Image.open(io.BytesIO(visual), formats=[info.format.upper()]) as opened:
        profile = opened.info.get("icc_profile")
        # A CMYK or grey profile does not fit pixels that have become RGB.
        keeps_profile = opened.mode in ("RGB", "RGBA", "P")
        image = _fit_mode(opened, to_format)
    buffer = io.BytesIO()
    options = dict(_OPTIONS[to_format])
    if profile and keeps_profile:
        options["icc_profile"] = profile
    image.save(buffer, to_format.upper(), **options)
    return buffer.getvalue()


def _fit_mode(image: Image.Image, to_format: ImageFormat) -> Image.Image:
    # Palette images may hide transparency in ``info``, which only RGBA brings out.
    if image.mode == "P" and to_format != "png":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode not in ("CMYK", "YCbCr") and "transparency" in image.info:
        image = image.convert("RGBA")
    if to_format == "jpeg" and image.mode in ("RGBA", "LA", "PA"):
        return _flatten(image.convert("RGBA"))
    if image.mode in _NATIVE_MODES[to_format]:
        image.load()
        return image.copy()
    return image.convert("RGBA" if image.mode in ("LA", "PA") else "RGB")


def _flatten(image: Image.Image) -> Image.Image:
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=image.getchannel("A"))
    return page
