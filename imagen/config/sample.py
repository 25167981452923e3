"""The commented sample file that ``imagen config init`` prints."""

from __future__ import annotations

from importlib import resources


def sample_text() -> str:
    """A configuration with every key at its built-in value, and comments that explain it."""
    return resources.files("imagen.config").joinpath("sample.yaml").read_text(encoding="utf-8")
