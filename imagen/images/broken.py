"""The errors about image bytes, which every module of this package raises."""

from __future__ import annotations


class BrokenImage(ValueError):
    """The bytes are no whole, single, reasonably sized image; the message is one sentence.

    Not an ``ImagenError``: the caller decides whether to fetch the bytes again (an adapter) or
    to give up (delivery).
    """


class UnfitImage(BrokenImage):
    """The bytes are whole, but no image that imagen keeps: fetching them again does not help."""
