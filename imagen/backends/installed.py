"""Which backend types are installed: found through entry points, imported when first used."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import cast

from pydantic import BaseModel

from imagen.backends.adapter import Adapter
from imagen.errors import ConfigError

GROUP = "imagen.backends"
_OWN_DISTRIBUTION = "imagen"


@dataclass(frozen=True)
class AdapterOrigin:
    """The distribution that a backend type comes from, and why it cannot be used, or ""."""

    distribution: str
    error: str = ""

    def __str__(self) -> str:
        return f"broken ({self.error})" if self.error else self.distribution


class InstalledAdapters:
    """The installed backend types; an adapter is imported when its type is first used.

    Threads may share it.
    """

    def __init__(self, entry_points: Iterable[metadata.EntryPoint] | None = None) -> None:
        """Without ``entry_points``, those of the installed distributions, read when needed."""
        self._entry_points = entry_points
        self._lock = threading.Lock()
        self._loaded: dict[str, Adapter] = {}

    def types(self) -> list[str]:
        """The names of all types, sorted; imports none of them."""
        return sorted(self._by_type)

    def __contains__(self, type_name: str) -> bool:
        return type_name in self._by_type

    def load(self, type_name: str) -> Adapter:
        """The adapter of a type.

        Raises:
            ConfigError: the type is not installed, or its distribution is broken.
        """
        with self._lock:
            if type_name not in self._loaded:
                self._loaded[type_name] = _import(type_name, self._entry_point(type_name))
            return self._loaded[type_name]

    def origins(self) -> dict[str, AdapterOrigin]:
        """Every type with its distribution and what is wrong with it. Imports all adapters."""
        found: dict[str, AdapterOrigin] = {}
        for type_name in self.types():
            error = ""
            try:
                self.load(type_name)
            except ConfigError as exc:
                error = exc.message
            found[type_name] = AdapterOrigin(_origin_of(*self._by_type[type_name]), error)
        return found

    @cached_property
    def _by_type(self) -> dict[str, list[metadata.EntryPoint]]:
        entry_points = self._entry_points
        if entry_points is None:
            entry_points = metadata.entry_points(group=GROUP)
        found: dict[str, list[metadata.EntryPoint]] = {}
        for entry_point in entry_points:
            found.setdefault(entry_point.name, []).append(entry_point)
        return found

    def _entry_point(self, type_name: str) -> metadata.EntryPoint:
        if type_name not in self:
            raise ConfigError(unknown_type(type_name, self.types()))
        candidates = self._by_type[type_name]
        # Another distribution cannot replace a built-in type.
        ours = [each for each in candidates if each.dist and each.dist.name == _OWN_DISTRIBUTION]
        if len(ours or candidates) > 1:
            raise ConfigError(
                f"backend type {type_name!r} is brought by {_origin_of(*candidates)}",
                "uninstall one of them",
            )
        return (ours or candidates)[0]


def unknown_type(type_name: str, installed: Iterable[str]) -> str:
    """The message about a type that is not installed: the nearest name, and all there are."""
    names = sorted(installed)
    near = difflib.get_close_matches(type_name, names, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else ";"
    return (
        f"unknown backend type {type_name!r}{guess} installed types: {', '.join(names) or 'none'}"
    )


def _import(type_name: str, entry_point: metadata.EntryPoint) -> Adapter:
    name = f"backend type {type_name!r} of {_origin_of(entry_point)}"
    try:
        loaded = entry_point.load()
    except (Exception, SystemExit) as exc:
        # A third party's module runs here, and may raise anything.
        raise ConfigError(
            f"{name} cannot be imported: {type(exc).__name__}: {exc}",
            "install a version of it that works, or uninstall it",
        ) from exc
    if defect := _defect_of(loaded):
        raise ConfigError(
            f"{name}: {entry_point.value} {defect}",
            "its author finds what an adapter is in docs/adapters.md",
        )
    return cast("Adapter", loaded)


def _defect_of(loaded: object) -> str:
    """Why this is no adapter, or ""."""
    if isinstance(loaded, type):
        return "is a class; an adapter is an object"
    settings_type = getattr(loaded, "settings_type", None)
    if not (isinstance(settings_type, type) and issubclass(settings_type, BaseModel)):
        return "has no settings_type that is a pydantic model"
    if not isinstance(getattr(loaded, "default_queue", None), str):
        return "has no default_queue"
    if not callable(getattr(loaded, "build", None)):
        return "has no build method"
    return ""


def _origin_of(*entry_points: metadata.EntryPoint) -> str:
    """Name and version of the distribution, or of several that have the same type."""
    distributions = [each.dist for each in entry_points]
    return " and ".join(
        f"{each.name} {each.version}" if each else "an unknown package" for each in distributions
    )
