"""When to poll a prediction: most often around the end that is expected of it.

A poll every half second notices the end of an image a quarter second late on average, and makes
24 calls for a long one. But predictions of one model, size and number of steps take nearly the
same time, which Replicate reports to the millisecond. So most polls are made where the recent
predictions ended: a few before that window (this one may be quicker), many within it, and then
at growing gaps of at most half a second. Before the window a gap is at most half a second, or
15 % of the time that has passed where that is more. Whatever was expected, the end is noticed no
later than that.
"""

from __future__ import annotations

import statistics
import threading
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

_REMEMBERED = 20
_MAX_GAP_S = 0.5
# Before the window: a share of the time that has passed, where that is more than half a second.
# It is 15 % of the time that will have passed at the next poll, with its round trip.
_MAX_GAP_SHARE = 0.17
# Within the window: the number of polls, and the bounds of the gap between them.
_WINDOW_POLLS = 12
_MIN_DENSE_GAP_S = 0.04
_MAX_DENSE_GAP_S = 0.2
_GROWTH = 1.3
# Without a window: a share of the time that has passed.
_BLIND_START_S = 0.3
_BLIND_SHARE = 0.15
_BLIND_MIN_GAP_S = 0.08


@dataclass(frozen=True, slots=True)
class EndWindow:
    """When a prediction will probably end, in seconds after its creation."""

    opens_s: float
    closes_s: float


def window_of(samples: Sequence[float], expected_s: float | None) -> EndWindow | None:
    """The window by recent durations, or a wide one around a single or an expected duration."""
    if len(samples) >= 2:
        ordered = sorted(samples)
        # Of five or more, the shortest and the longest are left out as outliers.
        trimmed = ordered[1:-1] if len(ordered) >= 5 else ordered
        middle = statistics.median(trimmed)
        slack_s = 0.01 + 0.005 * middle
        return EndWindow(max(trimmed[0] - slack_s, 0.0), trimmed[-1] + slack_s)
    guess_s = samples[0] if samples else expected_s
    return EndWindow(guess_s * 0.9, guess_s * 1.1) if guess_s else None


def next_gap_s(elapsed_s: float, window: EndWindow | None) -> float:
    """Seconds to wait before the next poll, ``elapsed_s`` after the creation."""
    if window is None:
        if elapsed_s < _BLIND_START_S:
            return _BLIND_START_S - elapsed_s
        return min(max(elapsed_s * _BLIND_SHARE, _BLIND_MIN_GAP_S), _MAX_GAP_S)
    width_s = window.closes_s - window.opens_s
    dense_s = min(max(width_s / _WINDOW_POLLS, _MIN_DENSE_GAP_S), _MAX_DENSE_GAP_S)
    if elapsed_s < window.opens_s:
        longest_s = max(_MAX_GAP_S, elapsed_s * _MAX_GAP_SHARE)
        return min(window.opens_s - elapsed_s, longest_s)
    if elapsed_s < window.closes_s:
        return dense_s
    return min(max((elapsed_s - window.closes_s) * (_GROWTH - 1), dense_s), _MAX_GAP_S)


class RecentDurations:
    """Seconds that this process's last predictions took, by kind of work. Threads share it."""

    def __init__(self) -> None:
        self._by_kind: dict[Hashable, deque[float]] = {}
        self._lock = threading.Lock()

    def add(self, kind: Hashable, took_s: float) -> None:
        with self._lock:
            self._by_kind.setdefault(kind, deque(maxlen=_REMEMBERED)).append(took_s)

    def of(self, kind: Hashable) -> tuple[float, ...]:
        with self._lock:
            return tuple(self._by_kind.get(kind, ()))
