"""A request is changed only where the workflow leaves no choice, and every change is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagen.backends.comfyui.settings import ComfyUISettings
from imagen.backends.comfyui.workflow.fitting import fit_request
from imagen.backends.comfyui.workflow.library import load_workflow
from imagen.domain.drawn import Fitted
from imagen.domain.request import ImageRequest
from imagen.errors import RequestError

FOX = ImageRequest("a red fox", "a red fox", width=1024, height=768, seed=7)


def fit(request: ImageRequest, **settings: object) -> Fitted:
    parsed = ComfyUISettings.model_validate(settings)
    return fit_request(request, load_workflow(parsed), parsed)


def test_a_request_that_fits_is_left_alone_without_a_word() -> None:
    fitted = fit(FOX)

    assert fitted.request == replace(FOX, steps=4)
    assert fitted.warnings == ()


def test_a_size_is_rounded_and_both_are_named() -> None:
    fitted = fit(replace(FOX, width=1000, height=333))

    assert str(fitted.request.size) == "1008x336"
    assert "1000x333" in fitted.warnings[0]
    assert "1008x336" in fitted.warnings[0]


@given(st.integers(64, 4096), st.integers(64, 4096))
def test_a_rounded_size_is_near_allowed_and_stays(width: int, height: int) -> None:
    fitted = fit(replace(FOX, width=width, height=height)).request

    assert abs(fitted.width - width) <= 8
    assert abs(fitted.height - height) <= 8
    assert fitted.width % 16 == fitted.height % 16 == 0
    assert min(fitted.width, fitted.height) >= 64
    assert max(fitted.width, fitted.height) <= 4096
    assert fit(fitted).warnings == ()


def test_smoke_draws_any_size() -> None:
    assert fit(replace(FOX, width=333), workflow="smoke").request.width == 333


@pytest.mark.parametrize(
    ("asked", "default", "drawn"), [(None, None, 20), (None, 28, 28), (12, 28, 12), (0, 28, 28)]
)
def test_steps_are_the_requests_then_the_settings_then_the_workflows(
    asked: int | None, default: int | None, drawn: int
) -> None:
    fitted = fit(replace(FOX, steps=asked), workflow="flux-dev", default_steps=default)

    assert fitted.request.steps == drawn


def test_too_many_steps_for_schnell_are_a_warning() -> None:
    fitted = fit(replace(FOX, steps=20))

    assert fitted.request.steps == 20
    assert "1 to 4 steps" in fitted.warnings[0]


@pytest.mark.parametrize("steps", [-1, 10_001])
def test_steps_that_no_sampler_takes_are_refused(steps: int) -> None:
    with pytest.raises(RequestError, match=str(steps)):
        fit(replace(FOX, steps=steps))


def test_steps_for_a_workflow_without_any_are_a_warning() -> None:
    assert "20 ignored" in fit(replace(FOX, steps=20), workflow="smoke").warnings[0]


def test_a_negative_prompt_that_reaches_nothing_is_a_warning() -> None:
    fitted = fit(replace(FOX, negative="text"))

    assert "negative" in fitted.warnings[0]


def test_settings_fill_in_options_and_a_request_wins() -> None:
    request = replace(FOX, options={"sampler": "heun"})

    fitted = fit(request, workflow="flux-dev", sampler="euler", guidance=4)

    assert fitted.request.options == {"sampler": "heun", "guidance": "4"}


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(RequestError, match="denoise, sampler, scheduler"):
        fit(replace(FOX, options={"guidance": "3"}))
