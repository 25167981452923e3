"""A price has the day it was read, and an unknown price is never 0."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from imagen.backends.replicate.models.known_models import known_models
from imagen.backends.replicate.models.prices import (
    derive_cost,
    estimate_cost,
    known_prices,
    price_of,
    stale_since,
)
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.cost import UNKNOWN_COST

SCHNELL = known_prices()["black-forest-labs/flux-schnell"]
FLUX_2 = known_prices()["black-forest-labs/flux-2-pro"]


def settings(**values: Any) -> ReplicateSettings:
    usual = {"model": "black-forest-labs/flux-schnell"}
    return ReplicateSettings.model_validate({**usual, **values})


def test_every_model_of_the_table_has_a_dated_price() -> None:
    for model in known_models():
        assert known_prices()[model].prices.read_on is not None
        assert estimate_cost(known_prices()[model], {}, width=1024, height=1024).usd


def test_a_price_per_image_ignores_the_size() -> None:
    cost = estimate_cost(SCHNELL, {}, width=2048, height=2048)

    assert cost.usd == Decimal("0.003")
    assert cost.source == "price table of 2026-09-18"


@pytest.mark.parametrize(
    ("width", "height", "usd"), [(1024, 1024, "0.030"), (1025, 1024, "0.045"), (512, 512, "0.030")]
)
def test_a_price_per_run_and_megapixel_rounds_up(width: int, height: int, usd: str) -> None:
    assert estimate_cost(FLUX_2, {}, width=width, height=height).usd == Decimal(usd)


def test_input_pictures_of_unknown_size_make_the_price_unknown() -> None:
    inputs = {"input_images": ["https://a.example/1.png"]}

    estimated = estimate_cost(FLUX_2, inputs, width=1024, height=1024)

    assert estimated == UNKNOWN_COST
    assert derive_cost(FLUX_2, {}, estimated=estimated) == UNKNOWN_COST


def test_the_predictions_own_counts_decide_afterwards() -> None:
    estimated = estimate_cost(FLUX_2, {}, width=1024, height=1024)
    metrics = {"image_output_megapixel_count": 2, "image_input_megapixel_count": 3}

    cost = derive_cost(FLUX_2, metrics, estimated=estimated)

    assert cost.usd == Decimal("0.090")
    assert cost.source == "metrics and price table of 2026-09-24"


def test_without_counts_the_estimate_stays() -> None:
    estimated = estimate_cost(SCHNELL, {}, width=1024, height=1024)

    assert derive_cost(SCHNELL, {"predict_time": 3.4}, estimated=estimated) == estimated
    assert derive_cost(SCHNELL, {"image_count": 1}, estimated=estimated).usd == Decimal("0.003")


def test_a_price_of_ones_own_replaces_the_tables() -> None:
    rule = price_of(settings(price={"per_image": "0.01", "read_on": "2026-11-01"}))

    assert rule is not None
    assert rule.prices.per_image == Decimal("0.01")
    assert rule.source == "price in the configuration, of 2026-11-01"


def test_a_model_that_is_not_in_the_table_has_no_price() -> None:
    for model in ("acme/painter", f"black-forest-labs/flux-schnell:{'a' * 64}"):
        rule = price_of(settings(model=model))

        assert estimate_cost(rule, {}, width=64, height=64) == UNKNOWN_COST


def test_a_price_grows_stale_after_120_days() -> None:
    read_on = SCHNELL.prices.read_on
    assert read_on is not None

    assert stale_since(SCHNELL, read_on + timedelta(days=120)) is None
    assert stale_since(SCHNELL, read_on + timedelta(days=121)) == read_on
    assert stale_since(None, date(2030, 1, 1)) is None
