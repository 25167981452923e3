"""Which backend types are installed: found through entry points, imported when first used."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import cast

from pydantic import BaseModel

from imagen.backends.adapter import Adapter
from imagen.errors import ConfigError

GROUP = "imagen.backends"
_OWN_DISTRIBUTION = "imagen"


@dataclass(frozen=True)
class AdapterOrigin:
    """Who brought a backend type, and why it cannot be used, or ""."""

    distribution: str
    error: str = ""

    def __str__(self) -> str:
        return f"broken ({self.error})" if self.error else self.distribution


class InstalledAdapters:
    """The installed backend types; a plug-in is imported when its type is first used.

    Threads may share it. ``given`` stands in for what is installed.
    """

    def __init__(self, given: Mapping[str, Adapter] | None = None) -> None:
        self._given = given
        self._lock = threading.Lock()
        self._found: dict[str, list[metadata.EntryPoint]] | None = None
        self._loaded: dict[str, Adapter] = dict(given or {})

    def types(self) -> list[str]:
        """The names of all types, sorted; imports none of them."""
        return sorted(self._given if self._given is not None else self._entry_points())

    def __contains__(self, type_name: str) -> bool:
        return type_name in (self._given if self._given is not None else self._entry_points())

    def load(self, type_name: str) -> Adapter:
        """The adapter of a type.

        Raises:
            ConfigError: the type is not installed, or what brought it is broken.
        """
        with self._lock:
            if type_name not in self._loaded:
                self._loaded[type_name] = self._load(type_name)
            return self._loaded[type_name]

    def origins(self) -> dict[str, AdapterOrigin]:
        """Every type with who brought it. Imports them all; a broken one is only told."""
        found: dict[str, AdapterOrigin] = {}
        for type_name in self.types():
            distribution = self._distribution(type_name)
            try:
                self.load(type_name)
            except ConfigError as exc:
                found[type_name] = AdapterOrigin(distribution, exc.message)
            else:
                found[type_name] = AdapterOrigin(distribution)
        return found

    def _entry_points(self) -> dict[str, list[metadata.EntryPoint]]:
        if self._found is None:
            found: dict[str, list[metadata.EntryPoint]] = {}
            for entry_point in metadata.entry_points(group=GROUP):
                found.setdefault(entry_point.name, []).append(entry_point)
            self._found = found
        return self._found

    def _distribution(self, type_name: str) -> str:
        if self._given is not None:
            return "given"
        return " and ".join(_distribution_of(each) for each in self._entry_points()[type_name])

    def _load(self, type_name: str) -> Adapter:
        if type_name not in self:
            raise ConfigError(unknown_type(type_name, self.types()))
        candidates = self._entry_points()[type_name]
        # Nobody takes a built-in type over by being installed.
        ours = [each for each in candidates if _is_ours(each)]
        if len(ours or candidates) > 1:
            names = " and ".join(_distribution_of(each) for each in candidates)
            raise ConfigError(
                f"backend type {type_name!r} is brought by {names}", "uninstall one of them"
            )
        return _import(type_name, (ours or candidates)[0])


def unknown_type(type_name: str, installed: Iterable[str]) -> str:
    """The sentence about a type that nobody brought: what was meant, and what there is."""
    names = sorted(installed)
    near = difflib.get_close_matches(type_name, names, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else ";"
    return (
        f"unknown backend type {type_name!r}{guess} installed types: {', '.join(names) or 'none'}"
    )


def _import(type_name: str, entry_point: metadata.EntryPoint) -> Adapter:
    origin = _distribution_of(entry_point)
    try:
        loaded = entry_point.load()
    except (Exception, SystemExit) as exc:
        # Somebody else's module runs here, and may raise anything.
        raise ConfigError(
            f"backend type {type_name!r} of {origin} cannot be imported:"
            f" {type(exc).__name__}: {exc}",
            "install a version of it that works, or uninstall it",
        ) from exc
    defect = _defect(loaded)
    if defect:
        raise ConfigError(
            f"backend type {type_name!r} of {origin}: {entry_point.value} {defect}",
            "its author finds what an adapter is in docs/adapters.md",
        )
    return cast("Adapter", loaded)


def _defect(loaded: object) -> str:
    """Why this is no adapter, or nothing."""
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


def _distribution_of(entry_point: metadata.EntryPoint) -> str:
    distribution = entry_point.dist
    return f"{distribution.name} {distribution.version}" if distribution else "an unknown package"


def _is_ours(entry_point: metadata.EntryPoint) -> bool:
    return entry_point.dist is not None and entry_point.dist.name == _OWN_DISTRIBUTION
