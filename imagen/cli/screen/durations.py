"""Times as people read them."""

from __future__ import annotations

from datetime import datetime


def brief(seconds: float) -> str:
    """A duration in at most two units: ``0.4 s``, ``41 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"


def age(then: datetime, now: datetime) -> str:
    """How long ago, in one unit, narrow enough for a column: ``5s``, ``12m``, ``3h``, ``9d``."""
    seconds = max(0, int((now - then).total_seconds()))
    for unit, size_s in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size_s:
            return f"{seconds // size_s}{unit}"
    return f"{seconds}s"
