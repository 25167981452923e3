"""The clock that leases are judged by on this host."""

from __future__ import annotations

import time


class SystemClock:
    """Seconds since boot, including sleep: a laptop that slept through its lease must notice."""

    def boottime_s(self) -> float:
        # macOS has no CLOCK_BOOTTIME; its monotonic clock stops while it sleeps.
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
