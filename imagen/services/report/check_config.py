"""Checks every backend's block against the settings of its type; each problem names its line."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import BaseModel, ValidationError

from imagen.backends.installed import InstalledAdapters, unknown_type
from imagen.backends.registry import BackendSpec
from imagen.config.explain import dotted, explain, unknown_key
from imagen.config.locations import BUILT_IN, KeyPath, Problem
from imagen.config.schema import BUILT_IN_BACKENDS, BackendEntry, Config
from imagen.errors import ConfigError

#: What a backend's block holds besides its adapter's settings.
_OWN_KEYS = tuple(BackendEntry.model_fields)


def check_config(
    config: Config, adapters: InstalledAdapters, *, backends: Collection[str] | None = None
) -> list[str]:
    """What is wrong with the backends' blocks, a sentence each, in the order of the file.

    ``backends`` are the names to check; None for all. Imports the adapters of those only; asks no
    server. The registry refuses names that are not configured.
    """
    problems: list[Problem] = []
    for name, entry in config.backends.items():
        if backends is None or name in backends:
            problems.extend(_check_backend(name, entry, config, adapters))
    return [str(problem) for problem in sorted(dict.fromkeys(problems))]


def require_valid(
    config: Config, adapters: InstalledAdapters, *, backends: Collection[str] | None = None
) -> None:
    """As ``check_config``, for callers that cannot go on.

    Raises:
        ConfigError: its message has a line for each problem.
    """
    problems = check_config(config, adapters, backends=backends)
    if problems:
        raise ConfigError("\n".join(problems))


def backend_specs(config: Config, adapters: InstalledAdapters) -> list[BackendSpec]:
    """What the registry is made of; built-in backends whose type is not installed are left out."""
    return [
        BackendSpec(name, entry.type, entry.queue, entry.settings)
        for name, entry in config.backends.items()
        if entry.type in adapters or not _is_shipped(name, config)
    ]


def _check_backend(
    name: str, entry: BackendEntry, config: Config, adapters: InstalledAdapters
) -> list[Problem]:
    at: KeyPath = ("backends", name)
    type_location = config.locations.get((*at, "type"), config.locations.get(at, BUILT_IN))
    if entry.type not in adapters:
        if _is_shipped(name, config):
            return []
        return [Problem(type_location, unknown_type(entry.type, adapters.types()))]
    try:
        settings_type = adapters.load(entry.type).settings_type
    except ConfigError as exc:
        return [Problem(type_location, str(exc))]
    problems = _unread_keys(at, entry, config, settings_type)
    try:
        settings_type.model_validate(dict(entry.settings))
    except ValidationError as exc:
        problems += explain(exc, settings_type, locations=config.locations, at=at, also=_OWN_KEYS)
    except ConfigError as exc:
        problems.append(Problem(type_location, f"{dotted(at)}: {exc}"))
    return problems


def _unread_keys(
    at: KeyPath, entry: BackendEntry, config: Config, settings_type: type[BaseModel]
) -> list[Problem]:
    """Unknown keys that the settings of an adapter from another package would ignore."""
    if settings_type.model_config.get("extra", "ignore") != "ignore":
        return []
    if any(field.validation_alias for field in settings_type.model_fields.values()):
        # Its keys have more names than can be told from here.
        return []
    known = [*settings_type.model_fields, *_OWN_KEYS]
    return [
        Problem(config.locations.get((*at, key), BUILT_IN), unknown_key((*at, key), known))
        for key in entry.settings
        if key not in known
    ]


def _is_shipped(name: str, config: Config) -> bool:
    """Whether this is a built-in backend that the user's file does not speak of."""
    return name in BUILT_IN_BACKENDS and ("backends", name) not in config.locations
