"""The inputs of each built-in model: a wrong input is refused before a paid call is sent."""

from __future__ import annotations

from collections.abc import Mapping

from imagen.backends.replicate.models.model_spec import InputField, ModelSpec


def _choice(*choices: str) -> InputField:
    return InputField("string", choices=choices)


_SWITCH = InputField("boolean")
_IMAGE = InputField("uri")
_EVERY_MODEL = {"prompt": InputField("string"), "seed": InputField("integer")}
_ANY_FORMAT = {
    "output_format": _choice("webp", "jpg", "png"),
    "output_quality": InputField("integer", 0, 100),
}
_JPG_OR_PNG = {"output_format": _choice("jpg", "png")}

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
        **_EVERY_MODEL,
        **_ANY_FORMAT,
        "aspect_ratio": _choice(*_OPEN_PIXELS),
        "megapixels": _choice("1", "0.25"),
        "num_outputs": InputField("integer", 1, 4),
        "num_inference_steps": InputField("integer", 1, max_steps),
        "disable_safety_checker": _SWITCH,
        "go_fast": _SWITCH,
    }


#: Source: the models' own API schemas, as collected by several clients (read 2026-11). That
#: flux-2-pro needs multiples of 16 is what its maker's API says; Replicate's page does not say.
MODELS: Mapping[str, ModelSpec] = {
    "black-forest-labs/flux-schnell": ModelSpec(
        inputs=_open_flux(max_steps=4), pixels=_OPEN_PIXELS, timeout_s=60.0, default_steps=4
    ),
    "black-forest-labs/flux-dev": ModelSpec(
        inputs={
            **_open_flux(max_steps=50),
            "image": _IMAGE,
            "prompt_strength": InputField("number", 0, 1),
            "guidance": InputField("number", 0, 10),
        },
        pixels=_OPEN_PIXELS,
        default_steps=28,
    ),
    "black-forest-labs/flux-1.1-pro": ModelSpec(
        inputs={
            **_EVERY_MODEL,
            **_ANY_FORMAT,
            "aspect_ratio": _choice(*_CUSTOM_RATIOS),
            "width": InputField("integer", 256, 1440),
            "height": InputField("integer", 256, 1440),
            "image_prompt": _IMAGE,
            "safety_tolerance": InputField("integer", 1, 6),
            "prompt_upsampling": _SWITCH,
        },
        multiple=32,
    ),
    "black-forest-labs/flux-1.1-pro-ultra": ModelSpec(
        inputs={
            **_EVERY_MODEL,
            **_JPG_OR_PNG,
            "aspect_ratio": _choice(*_WIDE_RATIOS),
            "raw": _SWITCH,
            "image_prompt": _IMAGE,
            "image_prompt_strength": InputField("number", 0, 1),
            "safety_tolerance": InputField("integer", 1, 6),
        },
    ),
    "black-forest-labs/flux-kontext-pro": ModelSpec(
        inputs={
            **_EVERY_MODEL,
            **_JPG_OR_PNG,
            "input_image": _IMAGE,
            "aspect_ratio": _choice("match_input_image", *_WIDE_RATIOS, "2:1", "1:2"),
            "safety_tolerance": InputField("integer", 0, 6),
            "prompt_upsampling": _SWITCH,
        },
    ),
    "black-forest-labs/flux-2-pro": ModelSpec(
        inputs={
            **_EVERY_MODEL,
            **_ANY_FORMAT,
            "input_images": InputField("list"),
            "aspect_ratio": _choice("match_input_image", *_CUSTOM_RATIOS),
            "resolution": _choice("0.5 MP", "1 MP", "2 MP", "4 MP", "match_input_image"),
            "width": InputField("integer", 256, 2048),
            "height": InputField("integer", 256, 2048),
            "safety_tolerance": InputField("integer", 1, 5),
            "prompt_upsampling": _SWITCH,
        },
        multiple=16,
    ),
}
