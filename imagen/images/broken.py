"""The one complaint about image bytes, apart so that every module here can make it."""

from __future__ import annotations


class BrokenImage(ValueError):
    """The bytes are no whole, single, reasonably sized image; says why in one sentence.

    Not an ``ImagenError``: who asked for the bytes knows whether to fetch them again
    (an adapter) or to give up (delivery).
    """


class UnfitImage(BrokenImage):
    """The bytes are whole, and are nothing that imagen keeps: fetching them again is no use."""
