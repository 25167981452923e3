"""Bytes from a backend are an image only when they prove it."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imagen.images.broken import BrokenImage
from imagen.images.containers import png, webp
from imagen.images.verify import MAX_IMAGE_BYTES, ImageInfo, inspect_image

FORMATS = ("png", "jpeg", "webp")

Maker = Callable[..., bytes]


@pytest.mark.parametrize("image_format", FORMATS)
def test_format_and_size_come_from_the_bytes(make_image: Maker, image_format: str) -> None:
    data = make_image(image_format, 48, 32)

    assert inspect_image(data) == ImageInfo(image_format, 48, 32)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image_format", "options"),
    [
        ("png", {"mode": "P"}),
        ("png", {"mode": "L"}),
        ("png", {"mode": "RGBA"}),
        ("jpeg", {"mode": "L"}),
        ("jpeg", {"mode": "CMYK"}),
        ("jpeg", {"progressive": True}),
        ("webp", {"lossless": True}),
        ("webp", {"mode": "RGBA"}),
        ("webp", {"mode": "RGBA", "lossless": True}),
        ("webp", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}),
    ],
)
def test_every_flavour_of_a_format_is_welcome(
    make_image: Maker, image_format: str, options: dict[str, Any]
) -> None:
    info = inspect_image(make_image(image_format, 41, 33, **options))

    assert (info.width, info.height) == (41, 33)


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_file_cut_off_anywhere_is_found(make_image: Maker, image_format: str) -> None:
    data = make_image(image_format)

    for length in range(len(data)):
        with pytest.raises(BrokenImage):
            inspect_image(data[:length])


def test_a_progressive_jpeg_cut_off_anywhere_is_found(make_image: Maker) -> None:
    data = make_image("jpeg", progressive=True)

    for length in range(len(data)):
        with pytest.raises(BrokenImage):
            inspect_image(data[:length])


def test_a_flipped_bit_anywhere_in_a_png_is_found(make_image: Maker) -> None:
    data = make_image("png")

    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 0x10
        with pytest.raises(BrokenImage):
            inspect_image(bytes(broken))


def _png(header: bytes, rows: bytes) -> bytes:
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return png.SIGNATURE + b"".join(png.make_chunk(kind, body) for kind, body in parts)


def test_a_png_with_too_few_pixels_is_found_although_its_checksums_are_right() -> None:
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)

    with pytest.raises(BrokenImage, match="7,720 of 12,352 bytes"):
        inspect_image(_png(header, bytes(193 * 40)))


def test_an_interlaced_png_has_seven_passes() -> None:
    # By hand, 8x8 RGB: rows of 1, 1, 2, 2, 4, 4 and 8 pixels; 1, 1, 1, 2, 2, 4 and 4 of them.
    whole = bytes(4 + 4 + 7 + 2 * 7 + 2 * 13 + 4 * 13 + 4 * 25)
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 1)

    assert inspect_image(_png(header, whole)).width == 8
    with pytest.raises(BrokenImage, match="206 of 207 bytes"):
        inspect_image(_png(header, whole[1:]))


def test_a_row_with_an_unknown_filter_is_found() -> None:
    header = struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0)

    with pytest.raises(BrokenImage, match="unknown filter"):
        inspect_image(_png(header, b"\0\0\0\5\0\0"))


def test_a_png_without_its_palette_is_found() -> None:
    header = struct.pack(">IIBBBBB", 2, 2, 8, 3, 0, 0, 0)

    with pytest.raises(BrokenImage, match="palette"):
        inspect_image(_png(header, bytes(6)))


@pytest.mark.parametrize(
    ("data", "described"),
    [
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><title>502 Bad Gateway</title>", "an HTML page"),
        (b'\n{"detail": "not found"}', "JSON"),
        (b"GIF89a" + b"\0" * 40, "a GIF"),
        (b"\0\0\0\x20ftypavif" + b"\0" * 40, "AVIF"),
        (b"plain words", "11 bytes of something else"),
    ],
)
def test_what_is_no_image_is_named_but_not_quoted(data: bytes, described: str) -> None:
    with pytest.raises(BrokenImage, match=described) as caught:
        inspect_image(data)

    assert "502" not in str(caught.value)
    assert "words" not in str(caught.value)


def _huge_png() -> bytes:
    return _png(struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0), bytes(1000))


def _huge_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    return bytes(data)


def _huge_webp() -> bytes:
    body = bytes((0, 0, 0, 0)) + (16_000 - 1).to_bytes(3, "little") * 2
    return webp.assemble([(b"VP8X", body), (b"VP8L", b"\x2f" + b"\0" * 9)])


@pytest.mark.parametrize("make", [_huge_png, _huge_jpeg, _huge_webp])
def test_a_decompression_bomb_is_refused_by_its_header(make: Callable[[], bytes]) -> None:
    with pytest.raises(BrokenImage, match="the limit is 25,165,824"):
        inspect_image(make())


def test_more_bytes_than_any_image_has_are_refused() -> None:
    with pytest.raises(BrokenImage, match="67,108,864"):
        inspect_image(png.SIGNATURE + bytes(MAX_IMAGE_BYTES))


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_an_animation_is_no_image(image_format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, image_format.upper(), save_all=True, append_images=frames[1:])

    with pytest.raises(BrokenImage, match="animated"):
        inspect_image(buffer.getvalue())


def test_an_image_of_no_pixels_is_refused() -> None:
    with pytest.raises(BrokenImage, match="0x64"):
        inspect_image(_png(struct.pack(">IIBBBBB", 0, 64, 8, 2, 0, 0, 0), b""))


def test_texts_of_a_backend_do_not_matter(make_image: Maker) -> None:
    data = make_image("png")
    workflow = png.make_chunk(b"tEXt", b"workflow\0" + b"x" * 3_000_000)
    bomb = png.make_chunk(b"zTXt", b"bomb\0\0" + zlib.compress(b"x" * 3_000_000))

    assert inspect_image(png.rebuild(data, keep=lambda _chunk: True, extra=workflow + bomb))


def test_a_broken_exif_block_does_not_matter(make_image: Maker) -> None:
    assert inspect_image(make_image("jpeg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"))


def test_further_images_behind_the_first_do_not_matter(make_image: Maker) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(
        buffer, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))]
    )

    assert inspect_image(buffer.getvalue()) == ImageInfo("jpeg", 16, 16)


@given(st.sampled_from(FORMATS), st.data())
def test_no_damage_raises_anything_else(image_format: str, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((20, 20)).convert("RGB").save(buffer, image_format.upper())
    broken = bytearray(buffer.getvalue())
    for _ in range(3):
        position = data.draw(st.integers(0, len(broken) - 1))
        broken[position] = data.draw(st.integers(0, 255))

    with contextlib.suppress(BrokenImage):
        assert inspect_image(bytes(broken)).format == image_format
