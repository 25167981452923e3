"""A format that the backend did not give is made of the one it gave."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from imagen.images.broken import BrokenImage
from imagen.images.containers import png
from imagen.images.convert import convert_image
from imagen.images.verify import ImageFormat, inspect_image

Maker = Callable[..., bytes]
FORMATS: tuple[ImageFormat, ...] = ("png", "jpeg", "webp")
MODES = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "jpeg": ("L", "RGB", "CMYK"),
    "webp": ("RGB", "RGBA"),
}


@pytest.mark.parametrize("image_format", FORMATS)
def test_the_format_it_has_already_costs_nothing(
    make_image: Maker, image_format: ImageFormat
) -> None:
    data = make_image(image_format)

    assert convert_image(data, image_format) is data


@pytest.mark.parametrize(("source", "mode"), [(f, mode) for f in MODES for mode in MODES[f]])
@pytest.mark.parametrize("target", FORMATS)
def test_every_kind_of_image_becomes_every_format(
    make_image: Maker, source: str, mode: str, target: ImageFormat
) -> None:
    info = inspect_image(convert_image(make_image(source, 40, 24, mode), target))

    assert (info.format, info.width, info.height) == (target, 40, 24)


def test_a_png_of_a_webp_has_the_very_same_pixels(make_image: Maker) -> None:
    data = make_image("webp", mode="RGBA")

    converted = convert_image(data, "png")

    assert pixels(converted) == pixels(data)


def test_transparency_becomes_white_in_a_jpeg() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (16, 16), (255, 0, 0, 0)).save(buffer, "PNG")

    converted = convert_image(buffer.getvalue(), "jpeg")

    assert Image.open(io.BytesIO(converted)).getpixel((8, 8)) == (255, 255, 255)


def test_a_transparent_palette_colour_becomes_white_in_a_jpeg() -> None:
    buffer = io.BytesIO()
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(buffer, "PNG", transparency=1)

    converted = convert_image(buffer.getvalue(), "jpeg")

    assert Image.open(io.BytesIO(converted)).getpixel((8, 8)) == (255, 255, 255)


def test_coloured_edges_stay_sharp_in_a_jpeg() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "PNG")

    image = Image.open(io.BytesIO(convert_image(buffer.getvalue(), "jpeg")))

    assert [component[1:3] for component in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]


def test_texts_that_pillow_will_not_read_stop_nothing(make_image: Maker) -> None:
    bomb = png.make_chunk(b"zTXt", b"bomb\0\0" + zlib.compress(b"x" * 3_000_000))
    data = png.rebuild(make_image("png"), keep=lambda _chunk: True, extra=bomb)

    assert inspect_image(convert_image(data, "webp")).format == "webp"


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_the_colour_profile_is_kept(
    make_image: Maker, source: ImageFormat, target: ImageFormat
) -> None:
    data = make_image(source, icc_profile=b"profile")

    with Image.open(io.BytesIO(convert_image(data, target))) as image:
        assert image.info["icc_profile"] == b"profile"


def test_a_broken_image_is_not_converted(make_image: Maker) -> None:
    with pytest.raises(BrokenImage):
        convert_image(make_image("png")[:-20], "webp")


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGBA").tobytes()
