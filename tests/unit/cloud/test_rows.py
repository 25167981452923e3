"""Rows on their way to PostgREST."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from imagen.cloud.rows import encode_row


def test_what_no_database_stores_is_left_out():
    row = {
        "prompt": "a\x00b\ud800c",
        "sidecar": {"k\x00": ["\x00", math.nan]},
        "cost": Decimal("NaN"),
    }

    assert json.loads(encode_row(row)) == [
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

    assert json.loads(encode_row(row)) == [
        {
            "at": "2026-01-02T03:04:05+00:00",
            "id": "00000000-0000-0000-0000-000000000001",
            "cost": 0.003,
            "seed": 2**63 - 1,
            "tags": [],
            "steps": None,
        }
    ]
