"""Files that are made to take long are refused after a bounded number of steps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from imagen.images.broken import BrokenImage
from imagen.images.containers import jpeg, png, webp
from imagen.images.convert import convert_image
from imagen.images.verify import inspect_image, read_header

Maker = Callable[..., bytes]

MOST_LINES = 2_000_000


def lines_run(call: Callable[[], object]) -> int:
    """How many lines of imagen's own code ran: the same on every machine."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        if "imagen/images" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def refused(data: bytes, match: str) -> None:
    for look in (inspect_image, lambda data: convert_image(data, "webp")):

        def refuse(look: Callable[[bytes], object] = look) -> None:
            with pytest.raises(BrokenImage, match=match):
                look(data)

        assert lines_run(refuse) < MOST_LINES


def test_a_png_of_a_million_chunks_is_refused(make_image: Maker) -> None:
    image = make_image("png")
    refused(
        image[:33] + png.make_chunk(b"tEXt", b"a\0") * 1_000_000 + image[33:],
        "more than 65,536 chunks",
    )


def test_a_jpeg_of_two_million_segments_is_refused(make_image: Maker) -> None:
    image = make_image("jpeg")
    segment = jpeg.make_segment(jpeg.COMMENT, b"")
    refused(image[:2] + segment * 2_000_000 + image[2:], "more than 10,000 segments")


def test_a_jpeg_of_two_million_tables_between_its_scans_is_refused(make_image: Maker) -> None:
    image = make_image("jpeg")
    segment = jpeg.make_segment(jpeg.COMMENT, b"")
    refused(image[:-2] + segment * 2_000_000 + image[-2:], "more than 500 scans")


def test_a_webp_of_a_million_chunks_is_refused(make_image: Maker) -> None:
    chunks = [
        (chunk.kind, chunk.body(data)) for data in [make_image("webp")] for chunk in webp.walk(data)
    ]
    refused(webp.assemble([*chunks, *[(b"XMP ", b"")] * 1_000_000]), "more than 10,000 chunks")


def test_fill_bytes_are_passed_over_at_once_and_refused_where_there_are_millions(
    make_image: Maker,
) -> None:
    image = make_image("jpeg")
    filled = image[:2] + b"\xff" * 4_000 + image[2:]

    assert lines_run(lambda: inspect_image(filled)) < 10_000
    assert read_header(filled) == read_header(image)
    refused(image[:2] + b"\xff" * 20_000_000 + image[2:], "more than 4,096 fill bytes in a row")


@pytest.mark.parametrize(
    ("image_format", "options"),
    [("png", {}), ("jpeg", {"progressive": True}), ("jpeg", {"icc_profile": b"x" * 3_000_000})],
)
def test_honest_images_stay_far_below_the_bounds(
    make_image: Maker, image_format: str, options: dict[str, Any]
) -> None:
    inspect_image(make_image(image_format, 1024, 1024, **options))
