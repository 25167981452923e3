"""An input that the model does not take is refused before a call is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from imagen.backends.replicate.models.known_models import known_models
from imagen.backends.replicate.models.model_spec import InputField, ModelSpec
from imagen.backends.replicate.models.request_plan import MAX_SAFE_SEED, RequestPlan, plan_request
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.request import ImageRequest
from imagen.errors import RequestError

SCHNELL = "black-forest-labs/flux-schnell"
DEV = "black-forest-labs/flux-dev"
PRO = "black-forest-labs/flux-1.1-pro"
ULTRA = "black-forest-labs/flux-1.1-pro-ultra"

REQUEST = ImageRequest("a fox", "a fox", width=1024, height=1024, seed=7)


def plan(request: ImageRequest, model: str = SCHNELL, **settings: Any) -> RequestPlan:
    return plan_request(request, known_models()[model], ReplicateSettings(model=model, **settings))


def test_a_plain_request_names_everything_that_matters() -> None:
    assert plan(REQUEST).inputs == {
        "prompt": "a fox",
        "seed": 7,
        "num_inference_steps": 4,
        "aspect_ratio": "1:1",
        "megapixels": "1",
        "output_format": "png",
    }


def test_planning_a_planned_request_changes_nothing() -> None:
    first = plan(replace(REQUEST, width=1500, negative="text"), DEV)

    again = plan(first.request, DEV)

    assert again.request == first.request
    assert again.inputs == first.inputs
    assert not again.warnings


@pytest.mark.parametrize(
    ("asked", "default", "drawn"), [(None, None, 28), (None, 20, 20), (9, 20, 9)]
)
def test_steps_are_the_requests_else_the_settings_else_the_models(
    asked: int | None, default: int | None, drawn: int
) -> None:
    planned = plan(replace(REQUEST, steps=asked), DEV, default_steps=default)

    assert planned.request.steps == drawn
    assert planned.inputs["num_inference_steps"] == drawn


def test_steps_out_of_range_are_refused_with_the_range() -> None:
    with pytest.raises(RequestError, match="1 to 4 steps, not 20"):
        plan(replace(REQUEST, steps=20))


def test_steps_for_a_model_without_any_are_left_out_with_a_warning() -> None:
    planned = plan(replace(REQUEST, steps=20), PRO)

    assert planned.request.steps is None
    assert "takes no steps" in planned.warnings[0]


def test_a_negative_prompt_is_left_out_with_a_warning_that_does_not_quote_it() -> None:
    planned = plan(replace(REQUEST, negative="watermark"))

    assert "negative_prompt" not in planned.inputs
    assert planned.request.negative == ""
    assert "negative prompt" in planned.warnings[0]
    assert "watermark" not in planned.warnings[0]


@pytest.mark.parametrize(
    ("model", "wanted", "sent"),
    [
        (SCHNELL, "png", "png"),
        (SCHNELL, "jpeg", "jpg"),
        (SCHNELL, "webp", "webp"),
        (ULTRA, "webp", "png"),
    ],
)
def test_the_format_follows_the_request_where_the_model_has_it(
    model: str, wanted: str, sent: str
) -> None:
    assert plan(replace(REQUEST, format=wanted), model).inputs["output_format"] == sent


def test_options_win_over_the_settings_and_become_the_models_types() -> None:
    planned = plan(
        replace(REQUEST, options={"guidance": "4.5", "go_fast": "no", "output_quality": "90"}),
        DEV,
        input={"guidance": 3, "disable_safety_checker": True},
    )

    assert planned.inputs["guidance"] == 4.5
    assert planned.inputs["go_fast"] is False
    assert planned.inputs["output_quality"] == 90
    assert planned.inputs["disable_safety_checker"] is True


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"guidence": "3"}, "did you mean guidance"),
        ({"negative_prompt": "x"}, "--negative"),
        ({"seed": "3"}, "--seed"),
        ({"num_outputs": "4"}, "imagen batch"),
        ({"guidance": "warm"}, "not a number"),
        ({"guidance": "11"}, "0 to 10"),
        ({"guidance": "nan"}, "must be a number"),
        ({"go_fast": "maybe"}, "true or false"),
        ({"output_quality": "9.5"}, "not a whole number"),
        ({"aspect_ratio": "7:5"}, "16:9"),
        ({"image": "/etc/passwd"}, "must be a URL"),
    ],
)
def test_an_option_the_model_does_not_take_is_refused_with_what_it_takes(
    options: dict[str, str], words: str
) -> None:
    with pytest.raises(RequestError) as caught:
        plan(replace(REQUEST, options=options), DEV)

    assert words in str(caught.value)


def test_a_list_option_is_one_value_or_json() -> None:
    flux_2 = "black-forest-labs/flux-2-pro"
    one = plan(replace(REQUEST, options={"input_images": "https://a.example/1.png"}), flux_2)
    two = plan(replace(REQUEST, options={"input_images": '["https://a", "https://b"]'}), flux_2)

    assert one.inputs["input_images"] == ["https://a.example/1.png"]
    assert two.inputs["input_images"] == ["https://a", "https://b"]


def test_a_seed_that_json_readers_round_is_refused() -> None:
    with pytest.raises(RequestError, match=str(MAX_SAFE_SEED + 1)):
        plan(replace(REQUEST, seed=MAX_SAFE_SEED + 1))


def test_a_model_without_a_seed_is_drawn_with_a_warning() -> None:
    spec = ModelSpec(inputs={"prompt": InputField("string")})

    planned = plan_request(REQUEST, spec, ReplicateSettings(model="acme/x"))

    assert "seed" not in planned.inputs
    assert any("no seed" in warning for warning in planned.warnings)


def test_a_request_without_a_required_input_is_refused() -> None:
    spec = ModelSpec(inputs={"mask": InputField("uri")}, required=("mask",))

    with pytest.raises(RequestError, match="mask"):
        plan_request(REQUEST, spec, ReplicateSettings(model="acme/x"))
