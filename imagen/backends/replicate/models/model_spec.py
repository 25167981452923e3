"""A model's own input schema, read as a ``ModelSpec``: how models outside the table are driven."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagen.backends.replicate.models.known_models import FieldKind, InputField, ModelSpec

_KINDS: Mapping[str, FieldKind] = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "array": "list",
}
# Models that take a width rarely say of what it must be a multiple; 8 is what diffusion models
# with a VAE of that factor need, and most of them round to it themselves.
_GENERIC_MULTIPLE = 8


def spec_of_version(version: Mapping[str, Any], *, is_official: bool) -> ModelSpec | None:
    """The spec in a version object (``latest_version`` of a model, or a version itself).

    Nothing where it holds no readable input schema.
    """
    components = _at(version, "openapi_schema", "components", "schemas")
    properties = _at(components, "Input", "properties")
    if not properties:
        return None
    inputs = {
        str(name): _field(raw, components)
        for name, raw in properties.items()
        if isinstance(raw, Mapping)
    }
    raw_required = _at(components, "Input").get("required")
    required = raw_required if isinstance(raw_required, list) else []
    steps = inputs.get("num_inference_steps") or inputs.get("steps")
    has_default_steps = steps is not None and isinstance(steps.default, int)
    return ModelSpec(
        inputs=inputs,
        multiple=_GENERIC_MULTIPLE,
        required=tuple(str(name) for name in required if name != "prompt"),
        default_steps=steps.default if steps is not None and has_default_steps else None,
        version=version.get("id") if isinstance(version.get("id"), str) else None,
        is_official=is_official,
    )


def _field(raw: Mapping[str, Any], components: Mapping[str, Any]) -> InputField:
    # An enum stands behind a reference: {"allOf": [{"$ref": "#/components/schemas/x"}]}.
    merged: dict[str, Any] = {}
    for part in (*_list(raw.get("allOf")), raw):
        if isinstance(part, Mapping):
            merged |= _resolve(part, components)
    kind: FieldKind = _KINDS.get(str(merged.get("type")), "any")
    if kind == "string" and merged.get("format") == "uri":
        kind = "uri"
    return InputField(
        kind,
        low=_bound(merged.get("minimum")),
        high=_bound(merged.get("maximum")),
        choices=tuple(_list(merged.get("enum"))),
        default=merged.get("default"),
        # Cog's Secret. Source: github.com/replicate/cog, docs/python.md (read 2026-11).
        is_secret=merged.get("format") == "password" or merged.get("x-cog-secret") is True,
    )


def _resolve(part: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    reference = part.get("$ref")
    if not isinstance(reference, str):
        return dict(part)
    return dict(_at(components, reference.rpartition("/")[2]))


def _at(value: Any, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _bound(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else None
