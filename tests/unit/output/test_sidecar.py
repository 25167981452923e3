"""The sidecar holds everything needed to draw the image again, and never disagrees with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from imagen import __version__
from imagen.domain.cost import FREE, UNKNOWN_COST, Cost
from imagen.domain.prompt import hash_prompt
from imagen.output.provenance import Provenance
from imagen.output.sidecar import build_sidecar, sidecar_name

MakeProvenance = Callable[..., Provenance]


def build(provenance: Provenance) -> bytes:
    return build_sidecar(
        provenance, file_name="fox.png", sha256=hashlib.sha256(b"").hexdigest(), size_bytes=123
    )


def test_a_sidecar_stands_beside_its_image() -> None:
    assert sidecar_name("fox.png") == "fox.png.json"


def test_a_sidecar_says_everything(make_provenance: MakeProvenance) -> None:
    content = json.loads(build(make_provenance()))

    assert content == {
        "schema_version": 1,
        "file": "fox.png",
        "imagen": __version__,
        "job_id": "019a0000-0000-7000-8000-000000000001",
        "attempt_id": "019a0000-0000-7000-8000-000000000002",
        "created_at": "2026-11-20T09:30:00.250000Z",
        "backend": "flux-dev-local",
        "model": "flux1-dev.safetensors",
        "prompt": "a red fox",
        "drawn_prompt": "a red fox, soft light",
        "negative": "text, watermark",
        "style": "blog-header",
        "seed": 7,
        "steps": 20,
        "width": 40,
        "height": 24,
        "format": "png",
        "requested_size": "40x24",
        "warnings": [],
        "options": {"guidance": "3.5"},
        "prompt_hash": hash_prompt("a red fox"),
        "finished_at": "2026-11-20T09:30:08Z",
        "latency_ms": 7400,
        "cost_usd": 0.025,
        "cost_source": "price table of 2026-09-06",
        "caller": "editor",
        "batch_id": None,
        "position": None,
        "requested_format": "png",
        "sha256": hashlib.sha256(b"").hexdigest(),
        "size_bytes": 123,
        "details": {"workflow": {"6": {"inputs": {"text": "a red fox, soft light"}}}},
    }


def test_a_sidecar_agrees_with_what_the_image_says(make_provenance: MakeProvenance) -> None:
    provenance = make_provenance()

    content = json.loads(build(provenance))

    assert content.items() >= provenance.record.items()


def test_a_repeated_delivery_writes_the_same_sidecar(make_provenance: MakeProvenance) -> None:
    assert build(make_provenance()) == build(make_provenance())


def test_a_sidecar_is_readable_by_people(make_provenance: MakeProvenance) -> None:
    text = build(make_provenance(request={"prompt": "狐"})).decode()

    assert '\n  "prompt": "狐",\n' in text
    assert text.endswith("}\n")


@pytest.mark.parametrize(
    ("cost", "usd"),
    [(FREE, "0"), (UNKNOWN_COST, "null"), (Cost(Decimal("0.0030"), "metrics"), "0.003")],
)
def test_an_unknown_price_is_null_and_a_free_image_costs_0(
    make_provenance: MakeProvenance, cost: Cost, usd: str
) -> None:
    assert f'"cost_usd": {usd},' in build(make_provenance(cost=cost)).decode()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (float("nan"), None),
        (Decimal("1.5"), 1.5),
        (("a", {"b": float("inf")}), ["a", {"b": None}]),
        ({1: b"x"}, {"1": "b'x'"}),
        ("\ud83e", "\ud83e"),
    ],
)
def test_what_a_backend_adds_is_always_valid_json(
    make_provenance: MakeProvenance, value: Any, written: Any
) -> None:
    content = json.loads(build(make_provenance(details={"odd": value})))

    assert content["details"] == {"odd": written}
