"""A row of the usage table, for tests of sums and reports."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from imagen.domain.usage import UsageRow


def usage_row(**changes: Any) -> UsageRow:
    """One image of 0.1 dollars, with these changes."""
    usual: dict[str, Any] = {
        "created_at": datetime(2026, 11, 16, tzinfo=UTC),
        "backend": "flux",
        "model": "schnell",
        "seed": 7,
        "prompt_hash": "h",
        "latency_ms": 100,
        "cost_usd": Decimal("0.1"),
        "caller": "kim",
    }
    return UsageRow(**usual | changes)
