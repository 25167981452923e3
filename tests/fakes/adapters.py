"""Adapters given by a test instead of installed ones, and a context that none of them may use."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from imagen.backends.adapter import AdapterContext
from imagen.backends.installed import InstalledAdapters


class _Unused:
    """A limiter, durations and an index of attempts for a backend that asks none of them."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the backend asked for {name}")


def unused_context(env: Mapping[str, str] | None = None) -> AdapterContext:
    """A context of which an adapter may use ``env`` only."""
    unused: Any = _Unused()
    return AdapterContext(env=env or {}, limiter=unused, durations=unused, attempts=unused)


def install(**adapters: object) -> InstalledAdapters:
    """Adapters by their type, as if a distribution ``given 1.0`` had brought them."""
    return InstalledAdapters([_entry_point(name, adapter) for name, adapter in adapters.items()])


def _entry_point(name: str, adapter: object) -> Any:
    distribution = SimpleNamespace(name="given", version="1.0")
    return SimpleNamespace(name=name, value=name, dist=distribution, load=lambda: adapter)
