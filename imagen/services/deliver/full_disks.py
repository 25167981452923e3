"""Remembers folders whose disk is full, and when a delivery there is tried again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from imagen.domain.protocols import Clock

#: Seconds between two tries of a folder; the last one again and again.
_WAITS_S = (30.0, 120.0, 300.0)


@dataclass
class _Full:
    tries: int
    until_s: float


@dataclass
class FullDisks:
    """The folders that this process could not write to for lack of space.

    ``patience_s`` is for how long a job waits for space before it fails. Threads may share it.
    """

    patience_s: float = 3600.0
    _full: dict[Path, _Full] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def is_full(self, folder: Path) -> bool:
        """Whether a write to ``folder`` failed for lack of space and none succeeded since."""
        with self._lock:
            return folder in self._full

    def wait_s(self, folder: Path, clock: Clock) -> float:
        """For how many seconds nothing need be tried in ``folder``; 0 where it may be tried."""
        with self._lock:
            known = self._full.get(folder)
            return 0.0 if known is None else max(0.0, known.until_s - clock.boottime_s())

    def note_full(self, folder: Path, clock: Clock) -> float:
        """A write to ``folder`` failed for lack of space; returns the seconds until the next try.

        Several failures of one round are one try.
        """
        now_s = clock.boottime_s()
        with self._lock:
            known = self._full.setdefault(folder, _Full(0, now_s))
            if known.until_s <= now_s:
                known.until_s = now_s + _WAITS_S[min(known.tries, len(_WAITS_S) - 1)]
                known.tries += 1
            return known.until_s - now_s

    def note_written(self, folder: Path) -> None:
        """There is space in ``folder`` again."""
        if self._full:
            with self._lock:
                self._full.pop(folder, None)
