"""Chance that is the same on every machine: numbers from a hash, integers only."""

from __future__ import annotations

import hashlib
import struct

# A digest is sixteen numbers.
_unpack = struct.Struct(">16I").unpack


class Dice:
    """An endless row of numbers that depends on nothing but ``key``."""

    def __init__(self, key: str) -> None:
        self._key = key.encode("utf-8", "surrogatepass")
        self._round = 0
        self._pool: list[int] = []

    def roll(self, low: int, high: int) -> int:
        """A number from ``low`` to ``high``, both included; the span is at most 65,536."""
        if not self._pool:
            counter = self._round.to_bytes(4, "big")
            digest = hashlib.blake2b(counter + self._key).digest()
            # Taken from the end.
            self._pool = list(reversed(_unpack(digest)))
            self._round += 1
        return low + (self._pool.pop() * (high - low + 1) >> 32)
