"""A bound on how much text is read from one file, whatever number of texts it is divided into."""

from __future__ import annotations

from dataclasses import dataclass

from imagen.output.metadata.record import MAX_TEXT_BYTES


@dataclass
class TextRoom:
    """How many bytes may still be read."""

    left_bytes: int = MAX_TEXT_BYTES

    def take(self, size_bytes: int) -> bool:
        """Uses up so many bytes; says whether there were as many."""
        if size_bytes > self.left_bytes:
            return False
        self.left_bytes -= size_bytes
        return True

    def give_back(self, size_bytes: int) -> None:
        self.left_bytes += size_bytes
