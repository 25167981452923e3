"""Requests, sizes, styles and costs as values."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from imagen.domain.cost import FREE, UNKNOWN_COST, Cost
from imagen.domain.drawn import Health
from imagen.domain.job import TERMINAL_STATES, JobState
from imagen.domain.request import EXT_BY_FORMAT, FORMAT_BY_SUFFIX, ImageRequest, request_from_json
from imagen.domain.size import MAX_SIDE, MIN_SIDE, Size, parse_size
from imagen.domain.style import Style
from imagen.errors import RequestError

PLAIN = ImageRequest("a fox", "a fox", 64, 64, 1)
STORABLE = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)

requests = st.builds(
    ImageRequest,
    prompt=STORABLE,
    styled_prompt=STORABLE,
    width=st.integers(MIN_SIDE, MAX_SIDE),
    height=st.integers(MIN_SIDE, MAX_SIDE),
    seed=st.integers(1, 2**63 - 1),
    steps=st.none() | st.integers(0, 100),
    negative=STORABLE,
    format=st.sampled_from(["png", "jpeg", "webp"]),
    style=STORABLE,
    options=st.dictionaries(STORABLE, STORABLE, max_size=3),
)


@given(requests)
def test_a_request_survives_being_written_down(request: ImageRequest) -> None:
    # An empty prompt cannot be submitted.
    request = replace(
        request, prompt="x" + request.prompt, styled_prompt="x" + request.styled_prompt
    )

    assert request_from_json(json.loads(json.dumps(request.to_json()))) == request


def test_what_a_newer_version_wrote_is_still_read() -> None:
    assert request_from_json(PLAIN.to_json() | {"from_the_future": 1}) == PLAIN


def test_unset_fields_are_not_written_down() -> None:
    assert set(PLAIN.to_json()) == {"prompt", "user_prompt", "width", "height", "seed", "format"}


@given(st.integers(MIN_SIDE, MAX_SIDE), st.integers(MIN_SIDE, MAX_SIDE))
def test_every_size_is_read_as_it_is_shown(width: int, height: int) -> None:
    assert parse_size(str(Size(width, height))) == Size(width, height)


@given(st.text(max_size=20))
def test_any_other_text_is_refused_as_a_size(text: str) -> None:
    assume(not re.fullmatch(r"\s*[0-9]+\s*[xX]\s*[0-9]+\s*", text, re.ASCII))

    with pytest.raises(RequestError) as caught:
        parse_size(text)

    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "64",
        "x64",
        "64x",
        "63x64",
        "64x4097",
        "0x0",
        "99999x1",
        "10x",
        "1e3x64",
        "\uff16\uff14x64",
    ],
)
def test_a_size_outside_of_what_can_be_drawn_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="size"):
        parse_size(text)


def test_a_size_changes_nothing_else_of_a_request() -> None:
    assert PLAIN.with_size(Size(128, 256)).size == Size(128, 256)
    assert PLAIN.with_size(PLAIN.size) == PLAIN


def test_a_style_joins_exactly_what_it_says() -> None:
    assert Style("s", prefix="photo of ", suffix=", wide").apply("a fox") == "photo of a fox, wide"
    assert Style("s").apply(" a fox ") == " a fox "


def test_every_format_has_a_suffix_that_asks_for_it() -> None:
    for format_, extension in EXT_BY_FORMAT.items():
        assert FORMAT_BY_SUFFIX[f".{extension}"] == format_
    assert set(FORMAT_BY_SUFFIX.values()) == set(EXT_BY_FORMAT)


@pytest.mark.parametrize(
    ("cost", "shown"),
    [
        (FREE, "$0"),
        (UNKNOWN_COST, "unknown"),
        (Cost(Decimal("0.0030"), "x"), "$0.003"),
        (Cost(Decimal(100), "x"), "$100"),
        (Cost(Decimal("0.00000012"), "x"), "$0.00000012"),
    ],
)
def test_a_cost_is_shown_as_money_and_an_unknown_one_is_never_nothing(
    cost: Cost, shown: str
) -> None:
    assert str(cost) == shown


@pytest.mark.parametrize(
    ("health", "shown"),
    [
        (Health("ok"), "ok"),
        (Health("ok", "on a GPU"), "ok: on a GPU"),
        (Health("not configured", "no token", "set TOKEN"), "not configured (set TOKEN)"),
        (Health("not configured", "no token"), "not configured (no token)"),
        (Health("unreachable", "refused", "start it"), "unreachable: refused (start it)"),
        (Health("unreachable", "refused"), "unreachable: refused"),
    ],
)
def test_a_health_says_why_and_what_to_do(health: Health, shown: str) -> None:
    assert str(health) == shown
    assert health.is_ok == shown.startswith("ok")


def test_a_job_ends_in_one_of_three_states() -> None:
    assert {state for state in JobState if state.is_terminal} == TERMINAL_STATES
    assert len(TERMINAL_STATES) == 3
