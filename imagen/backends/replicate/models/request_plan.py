"""Makes the ``input`` object of a prediction from a request, and says what had to give way."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from imagen.backends.replicate.models.known_models import InputField, ModelSpec
from imagen.backends.replicate.models.secret_inputs import is_secret_input
from imagen.backends.replicate.models.sizes import choose_size
from imagen.domain.request import ImageRequest
from imagen.domain.secret_names import is_secret_name
from imagen.errors import RequestError

# JSON numbers beyond this are rounded by readers that hold them as doubles; a seed that comes
# back changed could not be recognised in the provider's list.
MAX_SAFE_SEED = 2**53 - 1

# What the request itself settles, and how to ask for it instead.
_RESERVED: Mapping[str, str] = {
    "prompt": "it is the PROMPT argument",
    "negative_prompt": "use --negative",
    "seed": "use --seed",
    "num_inference_steps": "use --steps",
    "steps": "use --steps",
    "num_outputs": "a request draws one image; use imagen batch for more",
    "output_format": "the suffix of --output chooses it",
}
_WANTED = {
    "boolean": "true or false",
    "integer": "a whole number",
    "list": "a JSON list",
    "uri": "a URL (https:, or data: with the picture in it)",
}
_SUFFIX_OF_FORMAT = {"png": ("png",), "jpeg": ("jpg", "jpeg"), "webp": ("webp",)}


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """A request as it will be drawn, the model's inputs for it, and sentences for the user."""

    request: ImageRequest
    inputs: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


def plan_request(
    request: ImageRequest,
    spec: ModelSpec,
    *,
    model: str,
    fixed: Mapping[str, Any],
    default_steps: int | None,
    secret: Collection[str] = (),
) -> RequestPlan:
    """What to send for ``request``. ``fixed`` are the settings' own inputs.

    ``secret`` are inputs that the call gets besides: their values are for nothing else.

    Planning what a plan's request says again gives the same inputs.

    Raises:
        RequestError: the model cannot take it, whatever is changed silently.
    """
    require_safe_seed(request.seed)
    given = dict(fixed) | read_options(request.options, spec, model=model)
    warnings: list[str] = []
    steps = _settle_steps(request.steps, spec, default_steps, model=model, warnings=warnings)
    sizing = choose_size(spec, request.size, given=given)
    warnings += sizing.warnings
    inputs: dict[str, Any] = {**sizing.inputs, **given, "prompt": request.styled_prompt}
    if steps is not None and spec.steps_input:
        inputs[spec.steps_input] = steps
    if "seed" in spec.inputs:
        inputs["seed"] = request.seed
    else:
        warnings.append(f"{model} takes no seed, so the image cannot be drawn again")
    if request.negative and "negative_prompt" in spec.inputs:
        inputs["negative_prompt"] = request.negative
    elif request.negative:
        warnings.append(f"{model} takes no negative prompt, so it is left out")
    output_format = _settle_format(request.format, spec)
    if output_format:
        inputs["output_format"] = output_format
    _require_all(spec, {*inputs, *secret}, model=model)
    negative = request.negative if "negative_prompt" in spec.inputs else ""
    settled = replace(request.with_size(sizing.size), steps=steps, negative=negative)
    return RequestPlan(settled, inputs, tuple(warnings))


def require_safe_seed(seed: int) -> None:
    """Raises RequestError for a seed that JSON readers may round."""
    if seed > MAX_SAFE_SEED:
        raise RequestError(
            f"seed {seed} is too large for Replicate, which reads it as a JSON number",
            f"use a seed up to {MAX_SAFE_SEED}",
        )


def read_options(options: Mapping[str, str], spec: ModelSpec, *, model: str) -> dict[str, Any]:
    """``--opt`` pairs as the model's own types.

    Raises:
        RequestError: an option that the model does not have, or a value it does not take.
    """
    values: dict[str, Any] = {}
    for name, text in options.items():
        require_free_input(name, spec, model=model)
        values[name] = check_value(name, parse_value(name, text, spec.inputs[name]), spec, model)
    return values


def require_free_input(name: str, spec: ModelSpec, *, model: str) -> None:
    """Raises RequestError for an input the model lacks or the request settles itself."""
    if name in _RESERVED:
        raise RequestError(f"option {name!r} is not one: {_RESERVED[name]}")
    if name not in spec.inputs:
        free = sorted(set(spec.inputs) - set(_RESERVED))
        near = difflib.get_close_matches(name, free, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise RequestError(
            f"{model} has no input {name!r}", f"{guess}it takes: {', '.join(free) or 'none'}"
        )


def parse_value(name: str, text: str, taken: InputField) -> Any:
    """``text`` as the input's type.

    Raises:
        RequestError: it cannot be read as that.
    """
    try:
        if taken.kind == "integer":
            return int(text)
        if taken.kind == "number":
            return float(text)
        if taken.kind == "boolean":
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                text.strip().lower()
            ]
        if taken.kind == "list":
            return json.loads(text) if text.lstrip().startswith("[") else [text]
    except (ValueError, KeyError):
        raise RequestError(f"option {name}: {text[:60]!r} is not {_describe_kind(taken)}") from None
    return text


def check_value(name: str, value: Any, spec: ModelSpec, model: str) -> Any:
    """The value, once the model is known to take it.

    Raises:
        RequestError: its type, its range or its spelling is wrong.
    """
    taken = spec.inputs[name]
    if not _is_of_kind(value, taken):
        raise RequestError(
            f"{model}: input {name!r} must be {_WANTED.get(taken.kind, f'a {taken.kind}')}"
        )
    if taken.choices and value not in taken.choices:
        allowed = ", ".join(str(choice) for choice in taken.choices)
        raise RequestError(
            f"{model}: input {name!r} cannot be {str(value)[:60]!r}", f"it takes: {allowed}"
        )
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and not _is_within(value, taken):
        raise RequestError(f"{model}: input {name!r} is {value}; it takes {_range(taken)}")
    return value


def _describe_kind(taken: InputField) -> str:
    return _WANTED.get(taken.kind, f"a {taken.kind}")


def _is_of_kind(value: Any, taken: InputField) -> bool:
    is_flag = isinstance(value, bool)
    if taken.kind == "boolean":
        return is_flag
    if taken.kind == "integer":
        return isinstance(value, int) and not is_flag
    if taken.kind == "number":
        return isinstance(value, int | float) and not is_flag and math.isfinite(value)
    if taken.kind == "list":
        return isinstance(value, list)
    if taken.kind == "uri":
        return isinstance(value, str) and value.startswith(("https://", "http://", "data:"))
    return taken.kind == "any" or isinstance(value, str)


def _is_within(value: float, taken: InputField) -> bool:
    return not (
        (taken.low is not None and value < taken.low)
        or (taken.high is not None and value > taken.high)
    )


def _range(taken: InputField) -> str:
    if taken.low is None:
        return f"at most {taken.high:g}"
    return f"at least {taken.low:g}" if taken.high is None else f"{taken.low:g} to {taken.high:g}"


def _settle_steps(
    asked: int | None,
    spec: ModelSpec,
    default: int | None,
    *,
    model: str,
    warnings: list[str],
) -> int | None:
    if spec.steps_input is None:
        if asked is not None:
            warnings.append(f"{model} takes no steps, so {asked} is left out")
        return None
    steps = asked if asked is not None else default or spec.default_steps
    if steps is not None and not _is_within(steps, spec.inputs[spec.steps_input]):
        taken = _range(spec.inputs[spec.steps_input])
        raise RequestError(f"{model} takes {taken} steps, not {steps}", "for example: --steps 4")
    return steps


def _settle_format(wanted: str, spec: ModelSpec) -> str | None:
    """The model's word for ``wanted``, or its most faithful one: delivery converts."""
    known = spec.inputs.get("output_format")
    if known is None:
        return None
    choices = tuple(str(choice) for choice in known.choices)
    for suffix in (*_SUFFIX_OF_FORMAT.get(wanted, ()), "png", "jpg", "jpeg", "webp"):
        if suffix in choices:
            return suffix
    return None


def _require_all(spec: ModelSpec, given: Collection[str], *, model: str) -> None:
    missing = [name for name in spec.required if name not in given]
    if missing and (is_secret_name(missing[0]) or is_secret_input(missing[0], spec)):
        raise RequestError(
            f"{model} cannot draw without its input {missing[0]!r}, a secret",
            f"in the backend's configuration: input_env: {{{missing[0]}: {missing[0].upper()}}}",
        )
    if missing:
        raise RequestError(
            f"{model} cannot draw without its input {missing[0]!r}",
            f"for example: --opt {missing[0]}=VALUE",
        )
