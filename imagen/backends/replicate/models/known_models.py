"""What each known model takes, as data: a wrong input is refused here, never by a paid call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

FieldKind = Literal["string", "integer", "number", "boolean", "uri", "list", "any"]

DEFAULT_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class InputField:
    """One input of a model; bounds are inclusive, ``choices`` are the exact values allowed.

    ``is_secret``: its value is kept nowhere, and comes from the environment.
    """

    kind: FieldKind
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    default: Any = None
    is_secret: bool = False


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The inputs of one model.

    Attributes:
        pixels: the size drawn for an aspect ratio (at ``megapixels`` 1), where it is known.
        multiple: width and height must be multiples of this, where they can be given.
        timeout_s: how long a prediction may run unless the settings say otherwise.
        required: inputs without which the model refuses, the prompt left out.
        default_steps: sampling steps when none are asked, or nothing where there are none.
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
        """What the model calls its sampling steps, if it takes any."""
        return next(
            (name for name in ("num_inference_steps", "steps") if name in self.inputs), None
        )


def _choice(*choices: str, default: str | None = None) -> InputField:
    return InputField("string", choices=choices, default=default)


def _integer(low: int | None = None, high: int | None = None) -> InputField:
    return InputField("integer", low, high)


def _number(low: float, high: float) -> InputField:
    return InputField("number", low, high)


_TEXT = InputField("string")
_SWITCH = InputField("boolean")
_PICTURE = InputField("uri")
_PICTURES = InputField("list")
_SEED = InputField("integer")
_ANY_FORMAT = _choice("webp", "jpg", "png")
_NO_WEBP = _choice("jpg", "png")
_QUALITY = _integer(0, 100)

# Source: replicate/cog-flux predict.py (read 2026-11); "0.25" megapixels halves both sides.
_OPEN_PIXELS: Mapping[str, tuple[int, int]] = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "3:2": (1216, 832),
    "2:3": (832, 1216),
    "4:5": (896, 1088),
    "5:4": (1088, 896),
    "3:4": (896, 1152),
    "4:3": (1152, 896),
    "9:16": (768, 1344),
    "9:21": (640, 1536),
}
_CUSTOM_RATIOS = ("custom", "1:1", "16:9", "3:2", "2:3", "4:5", "5:4", "9:16", "3:4", "4:3")
_WIDE_RATIOS = ("21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16", "9:21")


def _open_flux(*, max_steps: int) -> dict[str, InputField]:
    return {
        "prompt": _TEXT,
        "seed": _SEED,
        "aspect_ratio": _choice(*_OPEN_PIXELS),
        "megapixels": _choice("1", "0.25"),
        "num_outputs": _integer(1, 4),
        "num_inference_steps": _integer(1, max_steps),
        "output_format": _ANY_FORMAT,
        "output_quality": _QUALITY,
        "disable_safety_checker": _SWITCH,
        "go_fast": _SWITCH,
    }


#: Source: the models' own API schemas, as collected by several clients (read 2026-11). That
#: flux-2-pro wants multiples of 16 is what its maker's API asks; Replicate's page is silent.
MODELS: Mapping[str, ModelSpec] = {
    "black-forest-labs/flux-schnell": ModelSpec(
        inputs=_open_flux(max_steps=4),
        pixels=_OPEN_PIXELS,
        timeout_s=60.0,
        default_steps=4,
    ),
    "black-forest-labs/flux-dev": ModelSpec(
        inputs={
            **_open_flux(max_steps=50),
            "image": _PICTURE,
            "prompt_strength": _number(0, 1),
            "guidance": _number(0, 10),
        },
        pixels=_OPEN_PIXELS,
        default_steps=28,
    ),
    "black-forest-labs/flux-1.1-pro": ModelSpec(
        inputs={
            "prompt": _TEXT,
            "seed": _SEED,
            "aspect_ratio": _choice(*_CUSTOM_RATIOS),
            "width": _integer(256, 1440),
            "height": _integer(256, 1440),
            "image_prompt": _PICTURE,
            "safety_tolerance": _integer(1, 6),
            "prompt_upsampling": _SWITCH,
            "output_format": _ANY_FORMAT,
            "output_quality": _QUALITY,
        },
        multiple=32,
    ),
    "black-forest-labs/flux-1.1-pro-ultra": ModelSpec(
        inputs={
            "prompt": _TEXT,
            "seed": _SEED,
            "aspect_ratio": _choice(*_WIDE_RATIOS),
            "raw": _SWITCH,
            "image_prompt": _PICTURE,
            "image_prompt_strength": _number(0, 1),
            "safety_tolerance": _integer(1, 6),
            "output_format": _NO_WEBP,
        },
    ),
    "black-forest-labs/flux-kontext-pro": ModelSpec(
        inputs={
            "prompt": _TEXT,
            "seed": _SEED,
            "input_image": _PICTURE,
            "aspect_ratio": _choice("match_input_image", *_WIDE_RATIOS, "2:1", "1:2"),
            "safety_tolerance": _integer(0, 6),
            "prompt_upsampling": _SWITCH,
            "output_format": _NO_WEBP,
        },
    ),
    "black-forest-labs/flux-2-pro": ModelSpec(
        inputs={
            "prompt": _TEXT,
            "seed": _SEED,
            "input_images": _PICTURES,
            "aspect_ratio": _choice("match_input_image", *_CUSTOM_RATIOS),
            "resolution": _choice("0.5 MP", "1 MP", "2 MP", "4 MP", "match_input_image"),
            "width": _integer(256, 2048),
            "height": _integer(256, 2048),
            "safety_tolerance": _integer(1, 5),
            "prompt_upsampling": _SWITCH,
            "output_format": _ANY_FORMAT,
            "output_quality": _QUALITY,
        },
        multiple=16,
    ),
}


def known_spec(model: str) -> ModelSpec | None:
    """The table's entry for ``owner/name``; nothing for ``owner/name:version``."""
    return MODELS.get(model)
