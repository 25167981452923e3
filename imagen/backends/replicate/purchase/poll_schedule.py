"""When to look at a prediction: often around its expected end, and never much too late.

A fixed half second between polls costs a quarter second an image and 24 calls for a long one.
But predictions of one model, size and number of steps take nearly the same time, and their
records say how long (to the millisecond, by the provider's own clock). So the polls are spent
where the recent ones ended: a few on the way (it may be quicker this time), a dense run through
the window, and then ever wider ones, at most half a second apart. On the way the gap is at most
half a second, or 15 % of the time that has passed where that is more: so late at most is an end
noticed, whatever was expected.
"""

from __future__ import annotations

import statistics
import threading
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

_REMEMBERED = 20
_MAX_GAP_S = 0.5
# Before the window: a share of the time that has passed, where that is more. It makes 15 % of what
# has passed at the next poll, its round trip included.
_MAX_GAP_SHARE = 0.17
# In the window: the share of its width between two polls, and the bounds of that.
_WINDOW_POLLS = 12
_MIN_DENSE_GAP_S = 0.04
_MAX_DENSE_GAP_S = 0.2
_GROWTH = 1.3
# Nothing known: a share of the time that has passed.
_BLIND_START_S = 0.3
_BLIND_SHARE = 0.15
_BLIND_MIN_GAP_S = 0.08


@dataclass(frozen=True, slots=True)
class EndWindow:
    """When a prediction will most likely end, in seconds after its creation."""

    opens_s: float
    closes_s: float


def window_of(samples: Sequence[float], expected_s: float | None) -> EndWindow | None:
    """The window that recent durations suggest; a mere expectation makes a wide one."""
    if len(samples) >= 2:
        ordered = sorted(samples)
        # One stray on either side does not stretch the window once there are a few.
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
    """How long this process's last predictions took, by kind of work. Threads share it."""

    def __init__(self) -> None:
        self._by_kind: dict[Hashable, deque[float]] = {}
        self._lock = threading.Lock()

    def add(self, kind: Hashable, took_s: float) -> None:
        with self._lock:
            self._by_kind.setdefault(kind, deque(maxlen=_REMEMBERED)).append(took_s)

    def of(self, kind: Hashable) -> tuple[float, ...]:
        with self._lock:
            return tuple(self._by_kind.get(kind, ()))
