"""WIDTHxHEIGHT becomes the nearest size of the model, with a warning of any change."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagen.backends.replicate.models.known_models import known_models
from imagen.backends.replicate.models.model_spec import InputField, ModelSpec
from imagen.backends.replicate.models.sizes import choose_size
from imagen.domain.size import Size

SCHNELL = known_models()["black-forest-labs/flux-schnell"]
PRO = known_models()["black-forest-labs/flux-1.1-pro"]
ULTRA = known_models()["black-forest-labs/flux-1.1-pro-ultra"]
KONTEXT = known_models()["black-forest-labs/flux-kontext-pro"]
FLUX_2 = known_models()["black-forest-labs/flux-2-pro"]

sides = st.integers(64, 4096)


@pytest.mark.parametrize(
    ("asked", "ratio", "megapixels"),
    [
        (Size(1024, 1024), "1:1", "1"),
        (Size(512, 512), "1:1", "0.25"),
        (Size(1344, 768), "16:9", "1"),
        (Size(672, 384), "16:9", "0.25"),
        (Size(768, 1344), "9:16", "1"),
    ],
)
def test_a_size_the_model_has_is_drawn_exactly_without_a_word(
    asked: Size, ratio: str, megapixels: str
) -> None:
    sizing = choose_size(SCHNELL, asked, given={})

    assert sizing.size == asked
    assert sizing.inputs == {"aspect_ratio": ratio, "megapixels": megapixels}
    assert not sizing.warnings


def test_a_size_the_model_lacks_becomes_the_nearest_and_both_are_named() -> None:
    sizing = choose_size(SCHNELL, Size(1536, 768), given={})

    assert sizing.size == Size(1344, 768)
    assert sizing.inputs["aspect_ratio"] == "16:9"
    assert "1536x768" in sizing.warnings[0]
    assert "1344x768" in sizing.warnings[0]


def test_an_exact_ratio_is_taken_even_where_its_pixels_differ() -> None:
    sizing = choose_size(SCHNELL, Size(1920, 1080), given={})

    assert sizing.inputs == {"aspect_ratio": "16:9", "megapixels": "1"}
    assert sizing.size == Size(1344, 768)


def test_width_and_height_are_given_where_the_model_takes_them() -> None:
    sizing = choose_size(PRO, Size(1024, 768), given={})

    assert sizing.inputs == {"aspect_ratio": "custom", "width": 1024, "height": 768}
    assert not sizing.warnings


def test_sides_are_rounded_to_the_models_multiple() -> None:
    sizing = choose_size(PRO, Size(1000, 500), given={})

    assert sizing.size == Size(992, 512)
    assert "1000x500" in sizing.warnings[0]
    assert "992x512" in sizing.warnings[0]


def test_a_size_that_is_too_large_shrinks_and_keeps_its_shape() -> None:
    assert choose_size(PRO, Size(2880, 1440), given={}).size == Size(1440, 704)


def test_a_model_without_known_pixels_gets_the_shape() -> None:
    exact = choose_size(ULTRA, Size(1600, 900), given={})
    near = choose_size(KONTEXT, Size(1500, 768), given={})

    assert exact.inputs == {"aspect_ratio": "16:9"}
    assert not exact.warnings
    assert near.inputs == {"aspect_ratio": "2:1"}
    assert near.size == Size(1500, 768)
    assert "1500x768" in near.warnings[0]


def test_a_size_given_by_hand_is_left_alone() -> None:
    sizing = choose_size(SCHNELL, Size(1024, 1024), given={"aspect_ratio": "21:9"})

    assert not sizing.inputs
    assert sizing.size == Size(1024, 1024)


def test_megapixels_given_by_hand_leave_the_shape_to_the_size() -> None:
    sizing = choose_size(SCHNELL, Size(1024, 1024), given={"megapixels": "0.25"})

    assert sizing.inputs == {"aspect_ratio": "1:1"}
    assert sizing.size == Size(512, 512)


def test_a_resolution_given_by_hand_leaves_the_shape_to_the_size() -> None:
    sizing = choose_size(FLUX_2, Size(1344, 768), given={"resolution": "2 MP"})

    assert sizing.inputs == {"aspect_ratio": "16:9"}


def test_a_model_that_takes_no_size_says_so() -> None:
    sizing = choose_size(ModelSpec(inputs={"prompt": InputField("string")}), Size(64, 64), given={})

    assert not sizing.inputs
    assert "64x64" in sizing.warnings[0]


@given(width=sides, height=sides, model=st.sampled_from(sorted(known_models())))
def test_what_is_drawn_is_itself_drawn_unchanged(width: int, height: int, model: str) -> None:
    first = choose_size(known_models()[model], Size(width, height), given={})

    again = choose_size(known_models()[model], first.size, given={})

    assert again.size == first.size
    assert again.inputs == first.inputs


@given(width=sides, height=sides)
def test_sides_are_always_within_the_models_bounds(width: int, height: int) -> None:
    size = choose_size(PRO, Size(width, height), given={}).size

    for side in (size.width, size.height):
        assert 256 <= side <= 1440
        assert math.remainder(side, 32) == 0
