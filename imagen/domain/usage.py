"""Usage: what one image cost and took, and sums of that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

#: What usage may be grouped by, in the order of the columns.
GROUPINGS = ("week", "backend", "model", "caller")


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one image cost and took; ``cost_usd`` is None where the price is unknown."""

    created_at: datetime
    backend: str
    model: str | None
    seed: int | None
    prompt_hash: str
    latency_ms: int | None
    cost_usd: Decimal | None
    caller: str
    attempt_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class UsageSum:
    """A group of usage rows; ``unpriced`` counts images of unknown price, beside the sum."""

    key: tuple[str, ...]
    count: int
    cost_usd: Decimal
    unpriced: int
    median_latency_ms: int | None


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Groups in order of their keys, and the total of them all (its key is empty)."""

    by: tuple[str, ...]
    groups: list[UsageSum]
    total: UsageSum
