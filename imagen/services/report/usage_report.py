"""Sums usage rows for people: by week, backend, model and caller; one pass, memory flat."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from decimal import Decimal

from imagen.errors import RequestError
from imagen.ledger.queries.usage_rows import GROUPINGS, UsageRow, UsageSum, iso_week


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Groups in order of their keys, and the total of them all (its key is empty)."""

    by: tuple[str, ...]
    groups: list[UsageSum]
    total: UsageSum


def parse_grouping(text: str) -> tuple[str, ...]:
    """``week,backend`` as a tuple, in the order of the columns.

    Raises:
        RequestError: a word is none of the four.
    """
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in GROUPINGS:
            raise RequestError(f"cannot group by {word!r}", f"use some of {','.join(GROUPINGS)}")
    return tuple(name for name in GROUPINGS if name in words)


def sum_usage(rows: Iterable[UsageRow], *, by: Sequence[str] = GROUPINGS) -> UsageReport:
    """The sums of ``rows``, grouped; weeks are ISO weeks in UTC, such as ``2026-W47``."""
    groups: dict[tuple[str, ...], _Growing] = {}
    total = _Growing()
    for row in rows:
        key = tuple(_part(row, name) for name in by)
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Growing()
        group.add(row)
        total.add(row)
    ordered = [groups[key].sum(key) for key in sorted(groups)] if by else []
    return UsageReport(tuple(by), ordered, total.sum(()))


@dataclass
class _Growing:
    """A group while its rows come in."""

    count: int = 0
    cost_usd: Decimal = Decimal(0)
    unpriced: int = 0
    # Four bytes a row: the median of a million needs no more than 4 MB.
    latencies_ms: array[int] = field(default_factory=lambda: array("I"))

    def add(self, row: UsageRow) -> None:
        self.count += 1
        if row.cost_usd is None:
            self.unpriced += 1
        else:
            self.cost_usd += row.cost_usd
        if row.latency_ms is not None and row.latency_ms >= 0:
            self.latencies_ms.append(min(row.latency_ms, 2**32 - 1))

    def sum(self, key: tuple[str, ...]) -> UsageSum:
        return UsageSum(key, self.count, self.cost_usd, self.unpriced, self._median_ms())

    def _median_ms(self) -> int | None:
        if not self.latencies_ms:
            return None
        ordered = sorted(self.latencies_ms)
        # The lower of the two in the middle, as percentile_disc of the SQL standard has it.
        return ordered[(len(ordered) - 1) // 2]


def _part(row: UsageRow, name: str) -> str:
    if name == "week":
        return iso_week(row.created_at.astimezone(UTC))
    return str(getattr(row, name) or "unknown")
