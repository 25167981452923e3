"""The inputs that a model takes, and how they are read from the model's own schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

FieldKind = Literal["string", "integer", "number", "boolean", "uri", "list", "any"]

DEFAULT_TIMEOUT_S = 120.0

_KINDS: Mapping[str, FieldKind] = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "array": "list",
}
_STEPS_INPUTS = ("num_inference_steps", "steps")
# Schemas rarely say of what width and height must be a multiple. Diffusion models with a VAE of
# factor 8 need multiples of 8, and most of them round to it themselves.
_GENERIC_MULTIPLE = 8


@dataclass(frozen=True, slots=True)
class InputField:
    """One input of a model; bounds are inclusive, ``choices`` are the exact values allowed.

    ``is_secret``: the value comes from the environment and is never stored.
    """

    kind: FieldKind
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    default: Any = None
    is_secret: bool = False

    def is_within(self, value: float) -> bool:
        """Whether a number is within the bounds."""
        is_low = self.low is not None and value < self.low
        return not is_low and (self.high is None or value <= self.high)

    @property
    def range(self) -> str:
        """The bounds as messages name them, such as ``1 to 4``."""
        if self.low is None:
            return f"at most {self.high:g}"
        return f"at least {self.low:g}" if self.high is None else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The inputs of one model.

    Attributes:
        pixels: the size drawn for an aspect ratio (at ``megapixels`` 1), where it is known.
        multiple: width and height must be multiples of this, where they can be given.
        timeout_s: seconds that a prediction may run unless the settings say otherwise.
        required: inputs without which the model refuses, the prompt left out.
        default_steps: sampling steps when the request names none; None where there are none.
        version: the version's hash, where the spec was read from it.
        is_official: whether ``owner/name`` alone can be called.
    """

    inputs: Mapping[str, InputField]
    pixels: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    multiple: int = 1
    timeout_s: float = DEFAULT_TIMEOUT_S
    required: tuple[str, ...] = ()
    default_steps: int | None = None
    version: str | None = None
    is_official: bool = True

    @property
    def steps_input(self) -> str | None:
        """The name of the input for sampling steps; None where the model takes none."""
        return next((name for name in _STEPS_INPUTS if name in self.inputs), None)


def spec_of_version(version: Mapping[str, Any], *, is_official: bool) -> ModelSpec | None:
    """The spec in a version object (``latest_version`` of a model, or a version itself).

    None where it holds no readable input schema.
    """
    schemas = _object_at(version, "openapi_schema", "components", "schemas")
    id_ = version.get("id")
    spec = spec_of_schema(
        _object_at(schemas, "Input"),
        schemas,
        multiple=_GENERIC_MULTIPLE,
        version=id_ if isinstance(id_, str) else None,
        is_official=is_official,
    )
    return spec if spec.inputs else None


def spec_of_schema(
    schema: Mapping[str, Any], schemas: Mapping[str, Any] = MappingProxyType({}), **facts: Any
) -> ModelSpec:
    """The spec in the schema of a model's inputs.

    ``schemas`` are those that it may refer to; ``facts`` are fields of the spec that no schema
    holds.
    """
    inputs = {
        str(name): _read_field(raw, schemas)
        for name, raw in _object_at(schema, "properties").items()
        if isinstance(raw, Mapping)
    }
    steps = next((inputs[name].default for name in _STEPS_INPUTS if name in inputs), None)
    return ModelSpec(
        inputs=inputs,
        required=tuple(str(name) for name in _list(schema.get("required")) if name != "prompt"),
        default_steps=steps if isinstance(steps, int) else None,
        **facts,
    )


def _read_field(raw: Mapping[str, Any], schemas: Mapping[str, Any]) -> InputField:
    # An enum stands behind a reference: {"allOf": [{"$ref": "#/components/schemas/x"}]}.
    merged: dict[str, Any] = {}
    for part in filter(_is_object, (*_list(raw.get("allOf")), raw)):
        reference = part.get("$ref")
        is_reference = isinstance(reference, str)
        merged |= _object_at(schemas, reference.rpartition("/")[2]) if is_reference else part
    kind: FieldKind = _KINDS.get(str(merged.get("type")), "any")
    if kind == "string" and merged.get("format") == "uri":
        kind = "uri"
    return InputField(
        kind,
        low=_number(merged.get("minimum")),
        high=_number(merged.get("maximum")),
        choices=tuple(_list(merged.get("enum"))),
        default=merged.get("default"),
        # Cog's Secret. Source: github.com/replicate/cog, docs/python.md (read 2026-11).
        is_secret=merged.get("format") == "password" or merged.get("x-cog-secret") is True,
    )


def _object_at(value: Any, *keys: str) -> Mapping[str, Any]:
    """The JSON object found by following ``keys``; empty where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else None
