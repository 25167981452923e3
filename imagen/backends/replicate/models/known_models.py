"""The built-in models, whose inputs are known without asking Replicate for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources

from imagen.backends.replicate.models.model_spec import ModelSpec, spec_of_schema


@cache
def known_models() -> Mapping[str, ModelSpec]:
    """The spec of each built-in model, by ``owner/name``. Reads one file, once.

    ``known_models.json`` holds each input as the model's own schema does, with enums in place.
    """
    text = resources.files(__package__).joinpath("known_models.json").read_text("utf-8")
    raw = json.loads(text)
    pixels = {
        name: {ratio: (width, height) for ratio, (width, height) in sizes.items()}
        for name, sizes in raw["pixels"].items()
    }
    return {
        name: spec_of_schema(
            {"properties": model.pop("input")},
            **{**model, "pixels": pixels.get(model.get("pixels"), {})},
        )
        for name, model in raw["models"].items()
    }
