"""Lets a job that may crash its workers run alone, so that a crash is its own only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class IsolationGate:
    """How many jobs this process draws now, and whether somebody wants to draw alone."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _inside: int = 0
    _is_alone: bool = False
    _wants_alone: bool = False

    def want_alone(self) -> None:
        """A suspect waits: let nobody else in until it had its turn."""
        with self._lock:
            self._wants_alone = True

    @contextmanager
    def entering(self) -> Iterator[bool | None]:
        """Yields which jobs may be claimed: ``False`` all but suspects, ``True`` only those
        (alone in this process), ``None`` when nothing may be claimed now.
        """
        with self._lock:
            admitted = self._admit()
        try:
            yield admitted
        finally:
            if admitted is not None:
                with self._lock:
                    self._inside -= 1
                    if admitted:
                        self._is_alone = False

    def _admit(self) -> bool | None:
        if self._is_alone or (self._wants_alone and self._inside > 0):
            return None
        self._inside += 1
        if self._wants_alone:
            self._wants_alone = False
            self._is_alone = True
            return True
        return False
