"""What kind of work a drawing is: drawings of one kind take about as long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """The model, its sampling steps (None where it takes none) and the size in pixels."""

    model: str
    steps: int | None
    width: int
    height: int
