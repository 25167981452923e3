"""Chance that is the same on every machine: numbers from a hash, integers only."""

from __future__ import annotations

import hashlib


class Dice:
    """An endless row of numbers that depends on nothing but ``key``."""

    def __init__(self, key: str) -> None:
        self._key = key.encode("utf-8", "surrogatepass")
        self._round = 0
        self._pool = b""

    def roll(self, low: int, high: int) -> int:
        """A number from ``low`` to ``high``, both included; the span is at most 65,536."""
        if len(self._pool) < 4:
            counter = self._round.to_bytes(4, "big")
            self._pool = hashlib.blake2b(counter + self._key).digest()
            self._round += 1
        number, self._pool = int.from_bytes(self._pool[:4], "big"), self._pool[4:]
        return low + (number * (high - low + 1) >> 32)
