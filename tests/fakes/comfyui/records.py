"""What the fake remembers of itself, restarts included: what was asked, what the device did."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Submission:
    """One accepted or refused ``POST /prompt``; times are ``time.monotonic`` seconds."""

    prompt_id: str
    client_id: str
    graph: Mapping[str, Any]
    extra_data: Any
    at_s: float


@dataclass(slots=True)
class Execution:
    """One prompt on the device. ``end`` is "" while it runs."""

    prompt_id: str
    started_at_s: float
    ended_at_s: float | None = None
    end: str = ""
    loads: tuple[str, ...] = ()
    cached_nodes: tuple[str, ...] = ()


@dataclass
class Records:
    """Append-only; reading is safe while the fake runs."""

    requests: list[tuple[str, str]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    submissions: list[Submission] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)
    #: Model files loaded, in order, one entry a load.
    loads: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count_drawings(self) -> int:
        """How many prompts the device has finished with an image."""
        return sum(one.end == "success" for one in list(self.executions))

    def idle_share(self) -> float:
        """Part of the time between the first start and the last end in which nothing ran."""
        done = [one for one in list(self.executions) if one.ended_at_s is not None]
        if not done:
            return 0.0
        span_s = max(one.ended_at_s or 0.0 for one in done) - min(one.started_at_s for one in done)
        busy_s = sum((one.ended_at_s or 0.0) - one.started_at_s for one in done)
        return max(0.0, 1 - busy_s / span_s) if span_s > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """The numbers, for other processes."""
        return {
            "submissions": len(self.submissions),
            "executions": len(self.executions),
            "drawings": self.count_drawings(),
            "loads": len(self.loads),
            "idle_share": self.idle_share(),
        }
