"""What an image cost, and the source of that figure: an unknown price is never 0."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Cost:
    """US dollars, None where the price is unknown, and the source of the figure.

    ``source`` is a short phrase for the sidecar and the usage row, such as ``local``,
    ``price table of 2026-09-06`` or ``metrics``.
    """

    usd: Decimal | None
    source: str

    def __str__(self) -> str:
        return "unknown" if self.usd is None else f"${self.usd.normalize():f}"


FREE = Cost(Decimal(0), "local")
UNKNOWN_COST = Cost(None, "unknown")


@dataclass(frozen=True, slots=True)
class Bill:
    """What an attempt costs that its backend has drawn, whether or not the image arrives.

    ``model``, ``seed`` and ``steps`` are those that it was drawn with; None where not known.
    """

    cost: Cost
    model: str | None = None
    seed: int | None = None
    steps: int | None = None
