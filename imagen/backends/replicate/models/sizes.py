"""Turns WIDTHxHEIGHT into what a model takes: its own width and height, or an aspect ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagen.backends.replicate.models.model_spec import ModelSpec
from imagen.domain.size import MAX_SIDE, MIN_SIDE, Size

# Inputs that decide the size; one of them given by hand overrules WIDTHxHEIGHT.
_SIZE_INPUTS = ("aspect_ratio", "width", "height", "size", "image_size")
# Inputs for the number of pixels. With one given by hand, WIDTHxHEIGHT still decides the shape.
_AREA_INPUTS = ("megapixels", "resolution")


@dataclass(frozen=True, slots=True)
class SizeChoice:
    """The size that will be drawn, the inputs that ask for it, and warnings of any change."""

    size: Size
    inputs: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def choose_size(spec: ModelSpec, asked: Size, *, given: Mapping[str, Any]) -> SizeChoice:
    """The size nearest to ``asked`` that the model draws.

    ``given`` are the inputs set by hand; where they decide the size, nothing is chosen here.
    """
    if any(name in given for name in _SIZE_INPUTS):
        return SizeChoice(asked)
    field_ = spec.inputs.get("aspect_ratio")
    choices = [str(choice) for choice in field_.choices] if field_ else []
    has_sides = "width" in spec.inputs and "height" in spec.inputs
    is_area_given = any(name in given for name in _AREA_INPUTS)
    if has_sides and (field_ is None or ("custom" in choices and not is_area_given)):
        return _choose_sides(spec, asked, is_custom=field_ is not None)
    shapes = {choice: shape for choice in choices if (shape := _shape(choice))}
    if shapes:
        return _choose_ratio(spec, shapes, asked, megapixels=given.get("megapixels"))
    return SizeChoice(asked, {}, (f"the model takes no size, so {asked} is only a wish",))


def _choose_sides(spec: ModelSpec, asked: Size, *, is_custom: bool) -> SizeChoice:
    """The nearest allowed size; one that is too large or too small keeps its shape if it can."""
    width, height = spec.inputs["width"], spec.inputs["height"]
    low = max(width.low or MIN_SIDE, height.low or MIN_SIDE)
    high = min(width.high or MAX_SIDE, height.high or MAX_SIDE)
    scale = min(1.0, high / max(asked.width, asked.height))
    scale = max(scale, low / min(asked.width, asked.height))

    def round_side(side: int) -> int:
        lowest, highest = math.ceil(low / spec.multiple), math.floor(high / spec.multiple)
        return min(max(round(side * scale / spec.multiple), lowest), highest) * spec.multiple

    size = Size(round_side(asked.width), round_side(asked.height))
    inputs: dict[str, Any] = {"width": size.width, "height": size.height}
    if is_custom:
        inputs["aspect_ratio"] = "custom"
    return SizeChoice(size, inputs, _warn_of_change(asked, size))


def _choose_ratio(
    spec: ModelSpec, shapes: Mapping[str, float], asked: Size, *, megapixels: Any
) -> SizeChoice:
    wanted = asked.width / asked.height

    def distance(ratio: str) -> float:
        # A model's own sizes are not quite its ratios (16:9 is 1344x768); both count as exact.
        width, height = spec.pixels.get(ratio, (shapes[ratio], 1))
        return min(abs(math.log(wanted / shape)) for shape in (shapes[ratio], width / height))

    nearest = min(shapes, key=distance)
    inputs: dict[str, Any] = {"aspect_ratio": nearest}
    if nearest not in spec.pixels:
        if math.isclose(shapes[nearest], wanted, rel_tol=0.01):
            return SizeChoice(asked, inputs)
        warning = f"the model draws no {asked}; the nearest shape it has is {nearest}"
        return SizeChoice(asked, inputs, (warning,))
    width, height = spec.pixels[nearest]
    scale = 1.0
    known = spec.inputs.get("megapixels")
    if known is not None:
        area = asked.width * asked.height / (width * height)
        if megapixels is None:
            megapixels = min(known.choices, key=lambda one: abs(math.log(area / float(one))))
            inputs["megapixels"] = megapixels
        scale = math.sqrt(float(megapixels))
    size = Size(round(width * scale), round(height * scale))
    return SizeChoice(size, inputs, _warn_of_change(asked, size, f" ({nearest})"))


def _shape(ratio: str) -> float | None:
    """Width by height of a ratio such as ``16:9``; None for another text."""
    width, _, height = ratio.partition(":")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        return None
    return int(width) / int(height)


def _warn_of_change(asked: Size, size: Size, how: str = "") -> tuple[str, ...]:
    if asked == size:
        return ()
    return (f"the model draws no {asked}; the nearest it has is {size}{how}",)
