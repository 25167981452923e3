"""What Replicate charges for a unit, and what an image costs by it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

from imagen.backends.replicate.settings import ReplicateSettings, UnitPrices
from imagen.domain.cost import UNKNOWN_COST, Cost

STALE_AFTER_DAYS = 120
_MEGAPIXEL = 1024 * 1024
_LARGEST_COUNT = 10_000


@dataclass(frozen=True, slots=True)
class PriceRule:
    """What a model's units cost, and the source that each cost made of it names."""

    prices: UnitPrices
    source: str


@cache
def known_prices() -> Mapping[str, PriceRule]:
    """The rule of each model with a known price, by ``owner/name``. Reads one file, once."""
    text = resources.files(__package__).joinpath("known_prices.json").read_text("utf-8")
    table = {name: UnitPrices(**raw) for name, raw in json.loads(text)["prices"].items()}
    return {
        name: PriceRule(prices, f"price table of {prices.read_on}")
        for name, prices in table.items()
    }


# Inputs that hold pictures, whose megapixels are not known before the call.
_PICTURE_INPUTS = ("image", "images", "input_image", "input_images", "image_prompt")


def price_of(settings: ReplicateSettings) -> PriceRule | None:
    """The rule for a backend: its own ``price``, else the table's, else None."""
    own = settings.price
    if own is None:
        return None if settings.version else known_prices().get(settings.owner_and_name)
    since = f", of {own.read_on}" if own.read_on else ""
    return PriceRule(own, f"price in the configuration{since}")


def stale_since(rule: PriceRule | None, today: date) -> date | None:
    """The day a rule was read, if that was more than 120 days ago, else None."""
    read_on = rule.prices.read_on if rule is not None else None
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
    if rule.prices.per_input_megapixel and any(inputs.get(name) for name in _PICTURE_INPUTS):
        return UNKNOWN_COST
    megapixels = math.ceil(width * height / _MEGAPIXEL)
    return Cost(_sum(rule.prices, images=1, output=megapixels), rule.source)


def derive_cost(rule: PriceRule | None, metrics: Mapping[str, Any], *, estimated: Cost) -> Cost:
    """What a finished prediction cost, by the counts in its metrics where it names them all."""
    if rule is None:
        return estimated
    images = _count(metrics, "image_count", "image_output_count")
    output = _count(metrics, "image_output_megapixel_count")
    input_ = _count(metrics, "image_input_megapixel_count")
    is_missing = (
        (rule.prices.per_image and images is None)
        or (rule.prices.per_output_megapixel and output is None)
        # Without pictures among the inputs the estimate is known, and their count is 0.
        or (rule.prices.per_input_megapixel and input_ is None and estimated.usd is None)
    )
    if is_missing:
        return estimated
    usd = _sum(rule.prices, images=images or 0, output=output or 0, input_=input_ or 0)
    return Cost(usd, f"metrics and {rule.source}")


def _sum(
    prices: UnitPrices, *, images: int | Decimal, output: int | Decimal, input_: int | Decimal = 0
) -> Decimal:
    megapixels = prices.per_output_megapixel * output + prices.per_input_megapixel * input_
    return prices.per_run + prices.per_image * images + megapixels


def _count(metrics: Mapping[str, Any], *names: str) -> Decimal | None:
    """The first of ``names`` that holds a plausible count: no column for money holds a larger."""
    for value in map(metrics.get, names):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if 0 <= value <= _LARGEST_COUNT:
            return Decimal(str(value))
    return None
