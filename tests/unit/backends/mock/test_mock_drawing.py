"""The mock backend's pictures are the same everywhere, and a prompt can be read on them."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from imagen.backends.mock.drawing import draw_image, draw_request
from imagen.backends.mock.palettes import PALETTES
from imagen.domain.request import ImageRequest
from imagen.images.verify import inspect_image

PROMPT = "a red fox in the snow"


def ask(prompt: str = PROMPT, width: int = 256, height: int = 256, **others: Any) -> ImageRequest:
    return ImageRequest(prompt, prompt, width, height, **({"seed": 7} | others))


def digest(request: ImageRequest) -> str:
    with Image.open(io.BytesIO(draw_request(request))) as image:
        return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (ask(), "4990fb2da1a82671"),
        (ask("日本の山 🦊", 320, 200, seed=1), "4f65baa67f0f212d"),
        (ask("naïve façade", 64, 64, seed=2**63 - 1), "d743f1646cc07770"),
        (ask(width=1024, height=640, seed=3), "4ded9af80c3621cd"),
        (ask("night", options={"palette": "night"}), "62dcf66dc58beb3d"),
        (ask("wide", 640, 96, seed=11), "3c23004cf3e8e010"),
    ],
)
def test_pixels_are_the_same_on_every_platform(request_: ImageRequest, expected: str) -> None:
    assert digest(request_) == expected


@pytest.mark.parametrize(
    "change", [{"seed": 8}, {"styled_prompt": "a blue fox"}, {"negative": "snow"}, {"width": 257}]
)
def test_what_is_asked_decides_the_picture(change: dict[str, Any]) -> None:
    assert digest(replace(ask(), **change)) != digest(ask())


def test_what_does_not_matter_changes_nothing() -> None:
    assert digest(replace(ask(), steps=50, style="x")) == digest(ask())


@pytest.mark.parametrize(
    ("width", "height"), [(64, 64), (65, 127), (64, 4096), (4096, 64), (1536, 768)]
)
@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_every_size_and_format_is_drawn_as_asked(
    width: int, height: int, image_format: str
) -> None:
    info = inspect_image(draw_request(ask(width=width, height=height, format=image_format)))

    assert (info.format, info.width, info.height) == (image_format, width, height)


@pytest.mark.parametrize("name", PALETTES)
def test_every_palette_can_be_asked_for(name: str) -> None:
    picture = draw_image(ask(options={"palette": name}))

    assert picture.getpixel((0, 0)) == PALETTES[name].sky_top


@pytest.mark.parametrize(
    "prompt",
    [
        "x" * 32_000,
        "word " * 6_000,
        "\n\t\x1b[31m",
        "日本の山 🦊",
        "مرحبا",
        "{seed} %s $(rm -rf /)",
        "...",
    ],
)
@pytest.mark.parametrize(("width", "height"), [(256, 256), (512, 200), (300, 64)])
def test_any_prompt_fits_on_the_picture(prompt: str, width: int, height: int) -> None:
    assert draw_image(ask(prompt, width, height)).size == (width, height)


@pytest.mark.parametrize("side", [256, 512, 1024])
def test_the_prompt_is_written_from_256_pixels_up(side: int) -> None:
    ink = ink_of(draw_image(ask(PROMPT, side, side)))

    # Every letter of a bitmap font leaves at least a handful of dots, each of one size.
    assert ink >= 8 * len(PROMPT.replace(" ", ""))


def test_small_pictures_carry_no_text() -> None:
    assert ink_of(draw_image(ask(PROMPT, 64, 64))) == 0


def ink_of(picture: Image.Image) -> int:
    """How many pixels have exactly the colour that letters are written in."""
    colours = picture.getcolors(picture.width * picture.height) or []
    return sum(count for count, colour in colours if colour == (250, 248, 242))
