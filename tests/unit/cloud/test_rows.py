"""Rows on their way to PostgREST."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from imagen.cloud.rows import encode_rows, uniform_chunks


def test_what_no_database_stores_is_left_out():
    row = {
        "prompt": "a\x00b\ud800c",
        "sidecar": {"k\x00": ["\x00", math.nan]},
        "cost": Decimal("NaN"),
    }

    assert json.loads(encode_rows([row])) == [
        {"prompt": "abc", "sidecar": {"k": ["", None]}, "cost": None}
    ]


def test_the_ledgers_values_become_json():
    row = {
        "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "id": UUID(int=1),
        "cost": Decimal("0.003000"),
        "seed": 2**63 - 1,
        "tags": (),
        "steps": None,
    }

    assert json.loads(encode_rows([row])) == [
        {
            "at": "2026-01-02T03:04:05+00:00",
            "id": "00000000-0000-0000-0000-000000000001",
            "cost": 0.003,
            "seed": 2**63 - 1,
            "tags": [],
            "steps": None,
        }
    ]


def test_rows_go_in_chunks_of_one_shape():
    rows = [{"id": 1}, {"id": 2, "x": 1}, {"id": 3}, {"x": 2, "id": 4}, {"id": 5}]

    chunks = list(uniform_chunks(rows, unique=["id"], size=2))

    assert chunks == [
        [{"id": 1}, {"id": 3}],
        [{"id": 5}],
        [{"id": 2, "x": 1}, {"x": 2, "id": 4}],
    ]


def test_of_equal_rows_in_one_call_the_last_counts_and_nothing_equals_nothing():
    rows = [{"id": 1, "x": 1}, {"id": None, "x": 2}, {"id": 1, "x": 3}, {"id": None, "x": 4}]

    assert list(uniform_chunks(rows, unique=["id"], size=9)) == [
        [{"id": 1, "x": 3}, {"id": None, "x": 2}, {"id": None, "x": 4}]
    ]
