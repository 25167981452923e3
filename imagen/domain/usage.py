"""Usage: what one image cost and took, and sums of that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
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

    def to_json(self) -> dict[str, Any]:
        """The documented keys of a row; None where a value is unknown."""
        return {
            "created_at": self.created_at.isoformat(),
            "backend": self.backend,
            "model": self.model,
            "seed": self.seed,
            "prompt_hash": self.prompt_hash,
            "latency_ms": self.latency_ms,
            "cost_usd": None if self.cost_usd is None else float(self.cost_usd),
            "caller": self.caller,
            "attempt_id": str(self.attempt_id) if self.attempt_id else None,
        }


@dataclass(frozen=True, slots=True)
class UsageSum:
    """A group of usage rows; ``unpriced`` counts images of unknown price, beside the sum."""

    key: tuple[str, ...]
    count: int
    cost_usd: Decimal
    unpriced: int
    median_latency_ms: int | None

    @property
    def is_unpriced(self) -> bool:
        """Whether no price is known: such a sum is unknown, not 0."""
        return self.count > 0 and self.unpriced == self.count

    def to_json(self) -> dict[str, Any]:
        """The documented figures; the cost is None where no price is known."""
        return {
            "count": self.count,
            "cost_usd": None if self.is_unpriced else float(self.cost_usd),
            "unpriced": self.unpriced,
            "median_latency_ms": self.median_latency_ms,
        }


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Groups in order of their keys, and the total of them all (its key is empty)."""

    by: tuple[str, ...]
    groups: list[UsageSum]
    total: UsageSum

    def to_json(self) -> dict[str, Any]:
        """The documented keys: ``by``, ``groups`` with their keys and figures, and ``total``."""
        groups = [
            dict(zip(self.by, group.key, strict=True)) | group.to_json() for group in self.groups
        ]
        return {"by": list(self.by), "groups": groups, "total": self.total.to_json()}
