"""Checks the inputs that a user sets by hand: ``--opt`` pairs and those of the configuration."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from typing import Any

from imagen.backends.replicate.models.model_spec import FieldKind, InputField, ModelSpec
from imagen.errors import RequestError

# Inputs that follow from the request, and how a user sets them instead.
_RESERVED: Mapping[str, str] = {
    "prompt": "it is the PROMPT argument",
    "negative_prompt": "use --negative",
    "seed": "use --seed",
    "num_inference_steps": "use --steps",
    "steps": "use --steps",
    "num_outputs": "a request draws one image; use imagen batch for more",
    "output_format": "the suffix of --output chooses it",
}
_WANTED: Mapping[FieldKind, str] = {
    "boolean": "true or false",
    "integer": "a whole number",
    "list": "a JSON list",
    "uri": "a URL (https:, or data: with the picture in it)",
}
_TYPES: Mapping[FieldKind, Any] = {
    "boolean": bool,
    "integer": int,
    "number": int | float,
    "list": list,
    "uri": str,
    "string": str,
    "any": object,
}
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read_options(options: Mapping[str, str], spec: ModelSpec, *, model: str) -> dict[str, Any]:
    """``--opt`` pairs as the model's own types.

    Raises:
        RequestError: an option that the model does not have, or a value it does not take.
    """
    values: dict[str, Any] = {}
    for name, text in options.items():
        require_settable(name, spec, model=model)
        values[name] = _parse(name, text, spec.inputs[name])
        check_value(name, values[name], spec, model=model)
    return values


def require_settable(name: str, spec: ModelSpec, *, model: str) -> None:
    """Raises RequestError for an input that the model lacks or that follows from the request."""
    if name in _RESERVED:
        raise RequestError(f"option {name!r} is not one: {_RESERVED[name]}")
    if name not in spec.inputs:
        settable = sorted(set(spec.inputs) - set(_RESERVED))
        near = difflib.get_close_matches(name, settable, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise RequestError(
            f"{model} has no input {name!r}", f"{guess}it takes: {', '.join(settable) or 'none'}"
        )


def check_value(name: str, value: Any, spec: ModelSpec, *, model: str) -> None:
    """Raises RequestError for a value whose type, range or spelling the model does not take."""
    taken = spec.inputs[name]
    if not _is_of_kind(value, taken.kind):
        raise RequestError(f"{model}: input {name!r} must be {_describe(taken.kind)}")
    if taken.choices and value not in taken.choices:
        raise RequestError(
            f"{model}: input {name!r} cannot be {str(value)[:60]!r}",
            f"it takes: {', '.join(map(str, taken.choices))}",
        )
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and not taken.is_within(value):
        raise RequestError(f"{model}: input {name!r} is {value}; it takes {taken.range}")


def _parse(name: str, text: str, taken: InputField) -> Any:
    try:
        match taken.kind:
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case "boolean":
                return _FLAGS[text.strip().lower()]
            case "list":
                return json.loads(text) if text.lstrip().startswith("[") else [text]
            case _:
                return text
    except (ValueError, KeyError):
        wanted = _describe(taken.kind)
        raise RequestError(f"option {name}: {text[:60]!r} is not {wanted}") from None


def _describe(kind: FieldKind) -> str:
    return _WANTED.get(kind, f"a {kind}")


def _is_of_kind(value: Any, kind: FieldKind) -> bool:
    # In Python a boolean is an integer too, which is not so for the models.
    is_boolean_for_another = isinstance(value, bool) and kind not in ("boolean", "any")
    if is_boolean_for_another or not isinstance(value, _TYPES[kind]):
        return False
    if kind == "number":
        return math.isfinite(value)
    return kind != "uri" or value.startswith(("https://", "http://", "data:"))
