"""Makes the ``input`` object of a prediction from a request, and warns of what cannot be kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from imagen.backends.replicate.models.input_values import read_options
from imagen.backends.replicate.models.model_spec import ModelSpec
from imagen.backends.replicate.models.secret_inputs import is_secret_input
from imagen.backends.replicate.models.sizes import choose_size
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.request import ImageRequest
from imagen.domain.secret_names import is_secret_name
from imagen.errors import RequestError

# JSON numbers beyond this are rounded by readers that hold them as doubles; a seed that comes
# back changed could not be recognised in the provider's list.
MAX_SAFE_SEED = 2**53 - 1

_SUFFIXES = {"png": ("png",), "jpeg": ("jpg", "jpeg"), "webp": ("webp",)}


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """A request as it will be drawn, the model's inputs for it, and warnings for the user."""

    request: ImageRequest
    inputs: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


def plan_request(
    request: ImageRequest, spec: ModelSpec, settings: ReplicateSettings
) -> RequestPlan:
    """What to send for ``request``. Planning the plan's own request gives the same inputs.

    Raises:
        RequestError: the model cannot draw it, and no change with a warning would help.
    """
    require_safe_seed(request.seed)
    model = settings.model
    given = {**settings.input, **read_options(request.options, spec, model=model)}
    size = choose_size(spec, request.size, given=given)
    steps = _choose_steps(request.steps, settings.default_steps, spec, model=model)
    negative = request.negative if "negative_prompt" in spec.inputs else ""
    chosen = {
        "prompt": request.styled_prompt,
        "seed": request.seed if "seed" in spec.inputs else None,
        spec.steps_input: steps,
        "negative_prompt": negative or None,
        "output_format": _choose_format(request.format, spec),
    }
    inputs = {
        **size.inputs,
        **given,
        **{name: value for name, value in chosen.items() if name and value is not None},
    }
    _require_all(spec, {*inputs, *settings.input_env}, model=model)
    drawn = replace(request.with_size(size.size), steps=steps, negative=negative)
    warnings = (*size.warnings, *_warn_of_ignored(request, spec, model=model))
    return RequestPlan(drawn, inputs, warnings)


def require_safe_seed(seed: int) -> None:
    """Raises RequestError for a seed that JSON readers may round."""
    if seed > MAX_SAFE_SEED:
        raise RequestError(
            f"seed {seed} is too large for Replicate, which reads it as a JSON number",
            f"use a seed up to {MAX_SAFE_SEED}",
        )


def _choose_steps(
    asked: int | None, default: int | None, spec: ModelSpec, *, model: str
) -> int | None:
    """The steps to draw with; None where the model takes none, or knows its own default."""
    if spec.steps_input is None:
        return None
    steps = asked if asked is not None else default or spec.default_steps
    taken = spec.inputs[spec.steps_input]
    if steps is not None and not taken.is_within(steps):
        raise RequestError(
            f"{model} takes {taken.range} steps, not {steps}", "for example: --steps 4"
        )
    return steps


def _choose_format(wanted: str, spec: ModelSpec) -> str | None:
    """The model's word for ``wanted``, or its most faithful format, which delivery converts.

    None where the model has no choice of formats.
    """
    taken = spec.inputs.get("output_format")
    choices = [str(choice) for choice in taken.choices] if taken else []
    preferred = (*_SUFFIXES.get(wanted, ()), "png", "jpg", "jpeg", "webp")
    return next((suffix for suffix in preferred if suffix in choices), None)


def _warn_of_ignored(request: ImageRequest, spec: ModelSpec, *, model: str) -> Iterator[str]:
    if request.steps is not None and spec.steps_input is None:
        yield f"{model} takes no steps, so {request.steps} is left out"
    if "seed" not in spec.inputs:
        yield f"{model} takes no seed, so the image cannot be drawn again"
    if request.negative and "negative_prompt" not in spec.inputs:
        yield f"{model} takes no negative prompt, so it is left out"


def _require_all(spec: ModelSpec, given: Collection[str], *, model: str) -> None:
    missing = next((name for name in spec.required if name not in given), None)
    if missing is None:
        return
    if is_secret_name(missing) or is_secret_input(missing, spec):
        raise RequestError(
            f"{model} cannot draw without its input {missing!r}, a secret",
            f"in the backend's configuration: input_env: {{{missing}: {missing.upper()}}}",
        )
    raise RequestError(
        f"{model} cannot draw without its input {missing!r}",
        f"for example: --opt {missing}=VALUE",
    )
