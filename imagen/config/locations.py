"""Where a setting was written: every message about it names file and line."""

from __future__ import annotations

from typing import NamedTuple

#: From the top of the file to one value: key names, and indexes into lists.
KeyPath = tuple[str | int, ...]


class Location(NamedTuple):
    """A file and line such as ``imagen.yaml:12``; without a line, a source such as ``built-in``."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


BUILT_IN = Location("built-in")


class Problem(NamedTuple):
    """One sentence about one location; a list of them sorts by line."""

    location: Location
    text: str

    def __str__(self) -> str:
        return f"{self.location}: {self.text}"
