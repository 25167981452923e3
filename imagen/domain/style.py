"""Styles: wording and defaults for requests, under a name."""

from __future__ import annotations

from dataclasses import dataclass

from imagen.domain.size import Size


@dataclass(frozen=True, slots=True)
class Style:
    """What a style adds. Options override a style; a style overrides the backend's defaults."""

    name: str
    prefix: str = ""
    suffix: str = ""
    negative: str = ""
    size: Size | None = None
    steps: int | None = None
    backend: str = ""

    def apply(self, prompt: str) -> str:
        """The prompt with the style's prefix and suffix, joined exactly as they are written."""
        return f"{self.prefix}{prompt}{self.suffix}"
