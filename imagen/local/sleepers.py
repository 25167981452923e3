"""Threads that sleep until there is work: each that finds some wakes the next one."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class Sleepers:
    """Idle threads of one kind; one of them is woken at a time, so that sixteen ask no more often
    than one."""

    _condition: threading.Condition = field(default_factory=threading.Condition)
    _is_woken: bool = False
    _is_closed: bool = False

    def wake_one(self) -> None:
        """Let one thread look for work: the next that sleeps, or falls asleep."""
        with self._condition:
            self._is_woken = True
            self._condition.notify()

    def sleep(self) -> None:
        """Block until this thread is woken; returns at once after ``close``."""
        with self._condition:
            while not self._is_woken and not self._is_closed:
                self._condition.wait()
            self._is_woken = False

    def close(self) -> None:
        """Wake all of them, for good."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()
