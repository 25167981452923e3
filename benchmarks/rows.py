"""What a benchmark hands back, and the one table that all of them are printed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

_COLUMNS = ("benchmark", "median", "spread", "ratio", "of what", "aim", "met")


@dataclass(frozen=True)
class Aim:
    """At most, or at least, so much; of the ratio to the baseline, or of the figure itself."""

    limit: float
    is_most: bool
    of_ratio: bool

    @classmethod
    def at_most(cls, limit: float, *, of_ratio: bool = False) -> Aim:
        return cls(limit, True, of_ratio)

    @classmethod
    def at_least(cls, limit: float, *, of_ratio: bool = False) -> Aim:
        return cls(limit, False, of_ratio)

    def is_met(self, figure: float) -> bool:
        return figure <= self.limit if self.is_most else figure >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.is_most else '>='} {self.limit:g}{'x' if self.of_ratio else ''}"


@dataclass(frozen=True)
class Row:
    """One figure of a run: its samples, and the baseline measured in the same run.

    Where both have as many samples, they were taken in turns, and the ratio is the median of the
    ratios of each pair: what else the machine did then touches both.
    """

    what: str
    samples: Sequence[float]
    unit: str
    baseline: Row | None = None
    aim: Aim | None = None
    note: str = ""

    @property
    def figure(self) -> float:
        return median(self.samples)

    @property
    def ratio(self) -> float | None:
        if self.baseline is None:
            return None
        if len(self.samples) == len(self.baseline.samples):
            pairs = zip(self.samples, self.baseline.samples, strict=True)
            return median(ours / theirs for ours, theirs in pairs)
        return self.figure / self.baseline.figure

    @property
    def is_met(self) -> bool | None:
        """Whether the aim is met; nothing where there is none."""
        if self.aim is None:
            return None
        figure = self.ratio if self.aim.of_ratio else self.figure
        return None if figure is None else self.aim.is_met(figure)

    def cells(self) -> tuple[str, ...]:
        spread = f"{_short(min(self.samples))}..{_short(max(self.samples))}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}x"
        met = {None: "", True: "yes", False: "NO"}[self.is_met]
        return (
            f"  {self.what}",
            f"{_short(self.figure)} {self.unit}",
            spread if len(self.samples) > 1 else "",
            ratio,
            self.note or (self.baseline.what if self.baseline else ""),
            str(self.aim or ""),
            met,
        )


def render(sections: dict[str, list[Row]]) -> str:
    """The table, aligned, a title above each section."""
    body = [row.cells() for rows in sections.values() for row in rows]
    widths = [max(len(line[i]) for line in [_COLUMNS, *body]) for i in range(len(_COLUMNS))]
    lines = [_line(_COLUMNS, widths), "  ".join("-" * width for width in widths)]
    for title, rows in sections.items():
        lines += ["", title, *(_line(row.cells(), widths) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    right = (1, 2, 3)
    padded = (
        cell.rjust(width) if i in right else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(padded).rstrip()


def _short(number: float) -> str:
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"
