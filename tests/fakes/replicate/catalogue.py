"""The models the fake Replicate has, with the input schemas it refuses by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PAINTER_VERSION = "a" * 64

_RATIOS = ["1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"]


def _schema(properties: Mapping[str, Any], enums: Mapping[str, list[str]]) -> dict[str, Any]:
    """An OpenAPI document as a model version carries it: enums stand behind references."""
    shown = dict(properties)
    for name in enums:
        shown[name] = {"allOf": [{"$ref": f"#/components/schemas/{name}"}], "default": None}
    schemas: dict[str, Any] = {
        name: {"type": "string", "enum": values, "title": name} for name, values in enums.items()
    }
    schemas["Input"] = {"type": "object", "properties": shown, "required": ["prompt"]}
    return {"openapi": "3.0.2", "components": {"schemas": schemas}}


def _flux(max_steps: int) -> dict[str, Any]:
    return _schema(
        {
            "prompt": {"type": "string"},
            "seed": {"type": "integer"},
            "num_outputs": {"type": "integer", "minimum": 1, "maximum": 4, "default": 1},
            "num_inference_steps": {"type": "integer", "minimum": 1, "maximum": max_steps},
            "guidance": {"type": "number", "minimum": 0, "maximum": 10},
            "output_quality": {"type": "integer", "minimum": 0, "maximum": 100},
            "disable_safety_checker": {"type": "boolean"},
            "go_fast": {"type": "boolean"},
        },
        {
            "aspect_ratio": _RATIOS,
            "megapixels": ["1", "0.25"],
            "output_format": ["webp", "jpg", "png"],
        },
    )


_PAINTER = _schema(
    {
        "prompt": {"type": "string"},
        "negative_prompt": {"type": "string"},
        "seed": {"type": "integer"},
        "width": {"type": "integer", "minimum": 128, "maximum": 1024, "default": 512},
        "height": {"type": "integer", "minimum": 128, "maximum": 1024, "default": 512},
        "num_inference_steps": {"type": "integer", "minimum": 1, "maximum": 50, "default": 20},
        "texture": {"type": "number", "minimum": 0, "maximum": 1},
    },
    {"output_format": ["png", "jpg"]},
)

# What Cog makes of its type Secret. Source: github.com/replicate/cog (read 2026-11).
_SECRET = {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True}
_KEEPER = _schema(
    {
        "prompt": {"type": "string"},
        "seed": {"type": "integer"},
        "openai_api_key": _SECRET,
        # A secret that its name does not give away.
        "licence": _SECRET,
    },
    {},
)

#: Official models with a schema; any other ``black-forest-labs`` one takes whatever it gets.
OFFICIAL: Mapping[str, dict[str, Any]] = {
    "black-forest-labs/flux-schnell": _flux(4),
    "black-forest-labs/flux-dev": _flux(50),
    "acme/sketcher": _PAINTER,
    # Takes a prompt and nothing else.
    "acme/blind": _schema({"prompt": {"type": "string"}}, {}),
    "acme/keeper": _KEEPER,
}
#: Models that are called by version only.
VERSIONED: Mapping[str, dict[str, Any]] = {"acme/painter": _PAINTER}


def describe_model(name: str) -> dict[str, Any] | None:
    """The model object; None for an unknown one."""
    is_official = is_callable_by_name(name)
    if not is_official and name not in VERSIONED:
        return None
    owner, _, short = name.partition("/")
    version = "hidden" if is_official else PAINTER_VERSION
    return {
        "owner": owner,
        "name": short,
        "is_official": is_official,
        "latest_version": {
            "id": version,
            "openapi_schema": OFFICIAL.get(name) or VERSIONED.get(name) or {},
        },
    }


def is_callable_by_name(name: str) -> bool:
    return name in OFFICIAL or name.startswith("black-forest-labs/")


def redact(model: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs as any answer tells them: secrets are taken out."""
    document = OFFICIAL.get(model) or VERSIONED.get(model)
    properties = document["components"]["schemas"]["Input"]["properties"] if document else {}
    return {
        name: "[REDACTED]" if properties.get(name, {}).get("format") == "password" else value
        for name, value in inputs.items()
    }


def refuse_input(model: str, inputs: Any) -> list[dict[str, str]]:
    """The ``invalid_fields`` of a 422; empty where the input is fine."""
    if not isinstance(inputs, dict) or not inputs.get("prompt"):
        return [{"type": "required", "field": "input", "description": "prompt is required"}]
    document = OFFICIAL.get(model) or VERSIONED.get(model)
    if document is None:
        return []
    schemas = document["components"]["schemas"]
    return [
        fault
        for name, value in inputs.items()
        if (fault := _refuse(name, value, schemas["Input"]["properties"], schemas))
    ]


def _refuse(
    name: str, value: Any, properties: Mapping[str, Any], schemas: Mapping[str, Any]
) -> dict[str, str] | None:
    field = f"input.{name}"
    known = properties.get(name)
    if known is None:
        return {
            "type": "additional_property_not_allowed",
            "field": field,
            "description": f"Additional property {name} is not allowed",
        }
    choices = schemas[name]["enum"] if "allOf" in known else None
    if choices is not None and value not in choices:
        listed = ", ".join(choices)
        return {"type": "enum", "field": field, "description": f"must be one of: {listed}"}
    if known.get("format") == "password" and str(value).startswith("wrong"):
        # As providers do: with the value in the sentence.
        description = f"Incorrect API key provided: {value}"
        return {"type": "invalid", "field": field, "description": description}
    highest = known.get("maximum")
    if highest is not None and value > highest:
        return {
            "type": "number_lte",
            "field": field,
            "description": f"Must be less than or equal to {highest}",
        }
    return None
