"""Which fault strikes next in a fake server: injected ones in their order, then by chance."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

F = TypeVar("F")


class FaultQueue(Generic[F]):
    """Faults that are waiting to strike. Thread-safe; the same seed makes the same choices."""

    def __init__(self, chances: Mapping[F, float] | None = None, *, seed: int = 0) -> None:
        self._chances = dict(chances or {})
        self._random = random.Random(seed)
        #: Each with how often it is still to strike; None is "from now on".
        self._waiting: list[tuple[F, int | None]] = []
        self._lock = threading.Lock()

    def inject(self, fault: F, times: int | None = 1) -> None:
        """Let a fault strike at its next ``times`` occasions, or always with None."""
        if times is None or times > 0:
            with self._lock:
                self._waiting.append((fault, times))

    def clear(self) -> None:
        """Forget the injected faults."""
        with self._lock:
            self._waiting.clear()

    def heal(self) -> None:
        """Forget the injected faults and all chances."""
        with self._lock:
            self._waiting.clear()
            self._chances.clear()

    def next(self, fits: Callable[[F], bool]) -> F | None:
        """The fault that strikes at an occasion, and one time fewer of it; mostly None."""
        with self._lock:
            for index, (fault, times) in enumerate(self._waiting):
                if fits(fault):
                    if times == 1:
                        del self._waiting[index]
                    elif times is not None:
                        self._waiting[index] = (fault, times - 1)
                    return fault
            rolled = self._random.random()
            for fault, chance in self._chances.items():
                if fits(fault):
                    if rolled < chance:
                        return fault
                    rolled -= chance
            return None

    def is_waiting(self, fits: Callable[[F], bool]) -> bool:
        """Whether an injected fault would strike; it stays."""
        with self._lock:
            return any(fits(fault) for fault, _ in self._waiting)
