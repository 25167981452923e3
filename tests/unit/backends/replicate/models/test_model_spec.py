"""The inputs of a model that is not built in are read from its own schema."""

from __future__ import annotations

from imagen.backends.replicate.models.model_spec import spec_of_version

DOCUMENT = {
    "id": "b" * 64,
    "openapi_schema": {
        "components": {
            "schemas": {
                "size_name": {"enum": ["small", "large"], "type": "string"},
                "Input": {
                    "required": ["prompt", "mask"],
                    "properties": {
                        "prompt": {"type": "string"},
                        "mask": {"type": "string", "format": "uri"},
                        "steps": {"type": "integer", "minimum": 1, "maximum": 8, "default": 6},
                        "size_name": {
                            "allOf": [{"$ref": "#/components/schemas/size_name"}],
                            "default": "small",
                        },
                        "odd": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    },
                },
            }
        }
    },
}


def test_types_bounds_enums_and_defaults_are_read() -> None:
    spec = spec_of_version(DOCUMENT, is_official=False)

    assert spec is not None
    assert spec.inputs["mask"].kind == "uri"
    assert (spec.inputs["steps"].low, spec.inputs["steps"].high) == (1, 8)
    assert spec.inputs["size_name"].choices == ("small", "large")
    assert spec.inputs["size_name"].default == "small"
    assert spec.inputs["odd"].kind == "any"


def test_steps_required_inputs_and_the_version_are_known() -> None:
    spec = spec_of_version(DOCUMENT, is_official=False)

    assert spec is not None
    assert spec.steps_input == "steps"
    assert spec.default_steps == 6
    assert spec.required == ("mask",)
    assert spec.version == "b" * 64


def test_no_schema_is_no_spec() -> None:
    for version in ({}, {"openapi_schema": None}, {"openapi_schema": {"components": []}}):
        assert spec_of_version(version, is_official=True) is None
