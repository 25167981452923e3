"""Turns WIDTHxHEIGHT into what a model takes: its own width and height, or an aspect ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagen.backends.replicate.models.known_models import InputField, ModelSpec
from imagen.domain.size import MAX_SIDE, MIN_SIDE, Size

#: Inputs that decide the size; one of them given by hand overrules WIDTHxHEIGHT.
SIZE_INPUTS = ("aspect_ratio", "width", "height", "size", "image_size")
# Inputs that say how many pixels a shape gets, which leaves the shape to WIDTHxHEIGHT.
_AREA_INPUTS = ("megapixels", "resolution")


@dataclass(frozen=True, slots=True)
class SizeChoice:
    """The size that will be drawn, the inputs that ask for it, and what had to be changed."""

    size: Size
    inputs: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def choose_size(spec: ModelSpec, asked: Size, *, given: Mapping[str, Any]) -> SizeChoice:
    """How ``spec`` draws a size as near to ``asked`` as it can.

    ``given`` are the inputs settled by hand; where they decide the size, it is left to them.
    """
    overruling = [name for name in SIZE_INPUTS if name in given]
    if overruling:
        return SizeChoice(asked)
    ratios = spec.inputs.get("aspect_ratio")
    has_sides = "width" in spec.inputs and "height" in spec.inputs
    is_area_given = any(name in given for name in _AREA_INPUTS)
    if has_sides and (ratios is None or ("custom" in ratios.choices and not is_area_given)):
        return _as_pixels(spec, asked, is_custom=ratios is not None)
    if ratios is not None and _usable(ratios):
        return _as_ratio(spec, _usable(ratios), asked, megapixels=given.get("megapixels"))
    return SizeChoice(asked, {}, (f"the model takes no size, so {asked} is only a wish",))


def _as_pixels(spec: ModelSpec, asked: Size, *, is_custom: bool) -> SizeChoice:
    size = _fit_sides(asked, spec.inputs["width"], spec.inputs["height"], spec.multiple)
    inputs: dict[str, Any] = {"width": size.width, "height": size.height}
    if is_custom:
        inputs["aspect_ratio"] = "custom"
    return SizeChoice(size, inputs, _changed(asked, size))


def _fit_sides(asked: Size, width: InputField, height: InputField, multiple: int) -> Size:
    """The nearest allowed size; one that is too large or too small keeps its shape if it can."""
    low = max(width.low or MIN_SIDE, height.low or MIN_SIDE)
    high = min(width.high or MAX_SIDE, height.high or MAX_SIDE)
    scale = min(1.0, high / max(asked.width, asked.height))
    scale = max(scale, low / min(asked.width, asked.height))
    return Size(
        _round_side(asked.width * scale, low, high, multiple),
        _round_side(asked.height * scale, low, high, multiple),
    )


def _round_side(side: float, low: float, high: float, multiple: int) -> int:
    lowest = math.ceil(low / multiple) * multiple
    highest = math.floor(high / multiple) * multiple
    return min(max(round(side / multiple) * multiple, lowest), highest)


def _usable(ratios: InputField) -> tuple[str, ...]:
    return tuple(str(choice) for choice in ratios.choices if _shape(str(choice)) is not None)


def _shape(ratio: str) -> float | None:
    width, _, height = ratio.partition(":")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        return None
    return int(width) / int(height)


def _as_ratio(
    spec: ModelSpec, ratios: tuple[str, ...], asked: Size, *, megapixels: Any
) -> SizeChoice:
    wanted = asked.width / asked.height
    drawn_as = {ratio: _drawn_shape(spec, ratio) for ratio in ratios}
    # A model's own sizes are not quite its ratios (16:9 is 1344x768), and either spelling of
    # the same wish is an exact one.
    nearest = min(
        ratios,
        key=lambda ratio: min(
            abs(math.log(wanted / (_shape(ratio) or 1.0))),
            abs(math.log(wanted / drawn_as[ratio])),
        ),
    )
    inputs: dict[str, Any] = {"aspect_ratio": nearest}
    full = spec.pixels.get(nearest)
    if full is None:
        is_exact = math.isclose(_shape(nearest) or 0.0, wanted, rel_tol=0.01)
        return SizeChoice(
            asked,
            inputs,
            ()
            if is_exact
            else (f"the model draws no {asked}; the nearest shape it has is {nearest}",),
        )
    scale, inputs_of_scale = _choose_megapixels(spec, full, asked, megapixels)
    size = Size(round(full[0] * scale), round(full[1] * scale))
    return SizeChoice(size, inputs | inputs_of_scale, _changed(asked, size, via=nearest))


def _drawn_shape(spec: ModelSpec, ratio: str) -> float:
    pixels = spec.pixels.get(ratio)
    return pixels[0] / pixels[1] if pixels else _shape(ratio) or 1.0


def _choose_megapixels(
    spec: ModelSpec, full: tuple[int, int], asked: Size, given: Any
) -> tuple[float, dict[str, Any]]:
    """How much the sides of the full size shrink, and the input that says so."""
    known = spec.inputs.get("megapixels")
    if known is None:
        return 1.0, {}
    if given is not None:
        return math.sqrt(float(given)), {}
    area = asked.width * asked.height / (full[0] * full[1])
    best = min(known.choices, key=lambda choice: abs(math.log(area / float(choice))))
    return math.sqrt(float(best)), {"megapixels": best}


def _changed(asked: Size, size: Size, *, via: str = "") -> tuple[str, ...]:
    if asked == size:
        return ()
    how = f" ({via})" if via else ""
    return (f"the model draws no {asked}; the nearest it has is {size}{how}",)
