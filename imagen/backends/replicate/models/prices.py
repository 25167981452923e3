"""What Replicate charges, as data with the day it was read, and what an image costs by it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.cost import UNKNOWN_COST, Cost

STALE_AFTER_DAYS = 120
_MEGAPIXEL = 1024 * 1024
_LARGEST_COUNT = 10_000


@dataclass(frozen=True, slots=True)
class PriceRule:
    """US dollars per unit; units that do not apply are 0.

    ``source`` stands in each cost made of it, such as ``price table of 2026-09-06``.
    """

    source: str
    read_on: date | None
    per_image: Decimal = Decimal(0)
    per_run: Decimal = Decimal(0)
    per_output_megapixel: Decimal = Decimal(0)
    per_input_megapixel: Decimal = Decimal(0)


def _rule(read_on: date, **prices: str) -> PriceRule:
    amounts = {unit: Decimal(usd) for unit, usd in prices.items()}
    return PriceRule(f"price table of {read_on.isoformat()}", read_on, **amounts)


_SCHNELL = date(2026, 9, 18)
_BILLING = date(2026, 9, 24)
_CATALOGUE = date(2026, 9, 1)
_METRICS = date(2026, 9, 29)

#: Sources: the ``billingConfig`` of each model's page at replicate.com (schnell and those of
#: 2026-09-24), a catalogue that names the model page as its source ("autumn 2026", entered as
#: the earliest such day), real metrics (2026-09-29). Models whose published prices contradict
#: each other (krea-dev, fill-dev, klein-9b, dev-lora) are left out.
PRICES: Mapping[str, PriceRule] = {
    "black-forest-labs/flux-schnell": _rule(_SCHNELL, per_image="0.003"),
    "black-forest-labs/flux-dev": _rule(_BILLING, per_image="0.025"),
    "black-forest-labs/flux-pro": _rule(_BILLING, per_image="0.055"),
    "black-forest-labs/flux-1.1-pro": _rule(_CATALOGUE, per_image="0.04"),
    "black-forest-labs/flux-1.1-pro-ultra": _rule(_BILLING, per_image="0.06"),
    "black-forest-labs/flux-kontext-pro": _rule(_CATALOGUE, per_image="0.04"),
    "black-forest-labs/flux-kontext-max": _rule(_CATALOGUE, per_image="0.08"),
    "black-forest-labs/flux-kontext-dev": _rule(_METRICS, per_image="0.025"),
    "black-forest-labs/flux-2-pro": _rule(
        _BILLING, per_run="0.015", per_input_megapixel="0.015", per_output_megapixel="0.015"
    ),
    "black-forest-labs/flux-2-max": _rule(
        _BILLING, per_run="0.04", per_input_megapixel="0.03", per_output_megapixel="0.03"
    ),
    "black-forest-labs/flux-2-flex": _rule(
        _BILLING, per_input_megapixel="0.06", per_output_megapixel="0.06"
    ),
    "black-forest-labs/flux-2-klein-4b": _rule(_BILLING, per_output_megapixel="0.001"),
}

# Inputs that hold pictures, whose megapixels are not known before the call.
_PICTURE_INPUTS = ("image", "images", "input_image", "input_images", "image_prompt")


def price_of(settings: ReplicateSettings) -> PriceRule | None:
    """The rule for a backend: its own ``price``, else the table's, else None."""
    own = settings.price
    if own is None:
        return None if settings.version else PRICES.get(settings.owner_and_name)
    since = f", of {own.read_on}" if own.read_on else ""
    return PriceRule(f"price in the configuration{since}", **own.model_dump())


def stale_since(rule: PriceRule | None, today: date) -> date | None:
    """The day a rule was read, if that was more than 120 days ago, else None."""
    read_on = rule.read_on if rule is not None else None
    is_stale = read_on is not None and (today - read_on).days > STALE_AFTER_DAYS
    return read_on if is_stale else None


def estimate_cost(
    rule: PriceRule | None, inputs: Mapping[str, Any], *, width: int, height: int
) -> Cost:
    """What one image should cost; unknown where a count that is needed is unknown.

    Megapixels are rounded up, as Replicate does for input ones (2.25 was billed as 3); how it
    rounds output ones is not published.
    """
    if rule is None:
        return UNKNOWN_COST
    if rule.per_input_megapixel and any(inputs.get(name) for name in _PICTURE_INPUTS):
        return UNKNOWN_COST
    megapixels = math.ceil(width * height / _MEGAPIXEL)
    return Cost(_sum(rule, images=1, output=megapixels), rule.source)


def derive_cost(rule: PriceRule | None, metrics: Mapping[str, Any], *, estimated: Cost) -> Cost:
    """What a finished prediction cost, by the counts in its metrics where it names them all."""
    if rule is None:
        return estimated
    images = _count(metrics, "image_count", "image_output_count")
    output = _count(metrics, "image_output_megapixel_count")
    input_ = _count(metrics, "image_input_megapixel_count")
    is_missing = (
        (rule.per_image and images is None)
        or (rule.per_output_megapixel and output is None)
        # Without pictures among the inputs the estimate is known, and their count is 0.
        or (rule.per_input_megapixel and input_ is None and estimated.usd is None)
    )
    if is_missing:
        return estimated
    usd = _sum(rule, images=images or 0, output=output or 0, input_=input_ or 0)
    return Cost(usd, f"metrics and {rule.source}")


def _sum(
    rule: PriceRule, *, images: int | Decimal, output: int | Decimal, input_: int | Decimal = 0
) -> Decimal:
    megapixels = rule.per_output_megapixel * output + rule.per_input_megapixel * input_
    return rule.per_run + rule.per_image * images + megapixels


def _count(metrics: Mapping[str, Any], *names: str) -> Decimal | None:
    """The first of ``names`` that holds a plausible count: no column for money holds a larger."""
    for value in map(metrics.get, names):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if 0 <= value <= _LARGEST_COUNT:
            return Decimal(str(value))
    return None
