"""A request as a workflow can draw it: size rounded, defaults filled in, with warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from imagen.backends.comfyui.settings import MAX_STEPS, ComfyUISettings
from imagen.backends.comfyui.workflow.file_inputs import refuse_file
from imagen.backends.comfyui.workflow.workflow import Workflow
from imagen.domain.drawn import Fitted
from imagen.domain.request import ImageRequest
from imagen.domain.size import MAX_SIDE, MIN_SIDE, Size
from imagen.errors import ConfigError, RequestError


def fit_request(request: ImageRequest, workflow: Workflow, settings: ComfyUISettings) -> Fitted:
    """The request with its defaults, and a warning for each change and each value not used.

    Raises:
        RequestError: an option is unknown, not of its type, or makes the server open a file;
            steps out of range.
    """
    size, size_warnings = _fit_size(request.size, workflow)
    steps, step_warnings = _fit_steps(request.steps, workflow, settings)
    options = {**settings.default_options(), **request.options}
    for name, text in options.items():
        workflow.parse_option(name, text)
        refuse_file(workflow, name, text)
    fitted = replace(request.with_size(size), steps=steps, options=options)
    return Fitted(fitted, (*size_warnings, *step_warnings, *_warn_unused(request, workflow)))


def values_for(request: ImageRequest, workflow: Workflow) -> dict[str, Any]:
    """The values of a fitted request by the names that they may be bound to."""
    values: dict[str, Any] = {
        "prompt": request.styled_prompt,
        "negative": request.negative,
        "seed": request.seed,
        "steps": request.steps,
        "width": request.width,
        "height": request.height,
    }
    return values | options_for(request, workflow)


def options_for(request: ImageRequest, workflow: Workflow) -> dict[str, Any]:
    """The request's options, each of the type that the graph has there."""
    options: Mapping[str, str] = request.options
    return {name: workflow.parse_option(name, text) for name, text in options.items()}


def _fit_size(size: Size, workflow: Workflow) -> tuple[Size, tuple[str, ...]]:
    unused = [name for name in ("width", "height") if not workflow.takes(name)]
    if unused:
        what = " and ".join(unused)
        return size, (f"workflow {workflow.name!r} takes no {what}; it draws its own size",)
    step = workflow.size_step
    rounded = Size(_round_side(size.width, step), _round_side(size.height, step))
    if rounded == size:
        return size, ()
    return rounded, (f"size {size} drawn as {rounded}: sides must be multiples of {step} pixels",)


def _round_side(side: int, step: int) -> int:
    """The nearest multiple of ``step`` within the allowed sides; ties go up."""
    nearest = (side + step // 2) // step * step
    smallest, largest = -(-MIN_SIDE // step) * step, MAX_SIDE // step * step
    return min(max(nearest, smallest), largest)


def _fit_steps(
    asked: int | None, workflow: Workflow, settings: ComfyUISettings
) -> tuple[int, tuple[str, ...]]:
    if not workflow.takes("steps"):
        # 1 may come from an earlier fit instead of the user.
        ignored = asked not in (None, 1)
        return 1, (f"workflow {workflow.name!r} takes no steps; {asked} ignored",) * ignored
    steps = asked or settings.default_steps or _own_steps(workflow)
    if not 1 <= steps <= MAX_STEPS:
        raise RequestError(f"steps {steps} is outside 1..{MAX_STEPS}", "for example: --steps 4")
    if workflow.good_steps and not workflow.good_steps[0] <= steps <= workflow.good_steps[1]:
        low, high = workflow.good_steps
        return steps, (
            f"workflow {workflow.name!r} is made for {low} to {high} steps, not {steps}",
        )
    return steps, ()


def _own_steps(workflow: Workflow) -> int:
    value = workflow.value_of("steps")
    if not isinstance(value, int):
        raise ConfigError(
            f"workflow {workflow.name!r}: what is bound to steps holds {value!r}, not a number"
        )
    return value


def _warn_unused(request: ImageRequest, workflow: Workflow) -> tuple[str, ...]:
    if request.negative and not workflow.takes("negative"):
        return (f"workflow {workflow.name!r} takes no negative prompt; it is ignored",)
    return ()
