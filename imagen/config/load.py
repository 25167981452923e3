"""Reads a file and the environment into a Config, or raises all their problems at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from imagen.config.document import Document, parse_document
from imagen.config.explain import explain
from imagen.config.locations import KeyPath, Location, Problem
from imagen.config.rules import find_dangling_names, find_secrets
from imagen.config.schema import BUILT_IN_BACKENDS, Config
from imagen.errors import ConfigError

MAX_FILE_BYTES = 1 << 20
MAX_PROBLEMS = 50

#: Variables that override the file; one with an empty value counts as not set.
ENVIRONMENT: Mapping[str, tuple[str, str]] = {
    "IMAGEN_PREVIEW": ("output", "preview"),
    "IMAGEN_CLOUD_SYNC": ("output", "cloud_sync"),
    "IMAGEN_BROKER_URL": ("queue", "broker_url"),
    "IMAGEN_DATABASE_URL": ("database", "url"),
}


def find_config(explicit: str | Path | None, env: Mapping[str, str]) -> Path | None:
    """The file to read: ``explicit``, else IMAGEN_CONFIG, else the default path if it exists.

    Raises:
        ConfigError: an option or a variable names a file that does not exist.
    """
    named, by = (explicit, "--config") if explicit else (env.get("IMAGEN_CONFIG"), "IMAGEN_CONFIG")
    if named:
        path = _expand(named, env)
        if not _exists(path):
            shown = shown_path(path, env)
            raise ConfigError(
                f"{by} names {shown}, which does not exist",
                f"make it with: imagen config init > {shown}",
            )
        return path
    path = default_config_path(env)
    return path if _exists(path) else None


def default_config_path(env: Mapping[str, str]) -> Path:
    """The path of the file where no other is named; it need not exist."""
    folder = env.get("XDG_CONFIG_HOME", "")
    # Source: specifications.freedesktop.org/basedir-spec: a relative path is to be ignored.
    if not os.path.isabs(folder):
        folder = str(_home(env) / ".config")
    return Path(folder) / "imagen.yaml"


def load_config(path: Path | None, env: Mapping[str, str]) -> Config:
    """The built-in values, under those of the file at ``path``, under the environment's.

    Raises:
        ConfigError: its message has a line for each problem, with file and line number.
    """
    document = _read(path, env) if path is not None else Document()
    data = _with_built_in_backends(document.data)
    overrides, override_locations = _from_environment(env)
    problems = [
        *document.problems,
        *_problems(data, document.locations),
        *find_secrets(document.data, document.locations),
        *find_dangling_names(document.data, document.locations),
        *_problems(overrides, override_locations),
    ]
    if problems:
        raise ConfigError(_listed(problems))
    config = Config.model_validate(_merged(data, overrides))
    return config.with_locations({**document.locations, **override_locations})


def sample_text() -> str:
    """A configuration with every key at its built-in value, and comments that explain it."""
    return resources.files("imagen.config").joinpath("sample.yaml").read_text(encoding="utf-8")


def shown_path(path: Path, env: Mapping[str, str]) -> str:
    """The path with ``~/`` for the home folder, otherwise as it was given."""
    try:
        return f"~/{path.relative_to(_home(env))}"
    except ValueError:
        return str(path)


def _listed(problems: list[Problem]) -> str:
    lines = [str(problem) for problem in sorted(dict.fromkeys(problems))]
    if len(lines) > MAX_PROBLEMS:
        lines[MAX_PROBLEMS:] = [f"… and {len(lines) - MAX_PROBLEMS} more problems"]
    return "\n".join(lines)


def _problems(data: Mapping[str, Any], locations: Mapping[KeyPath, Location]) -> list[Problem]:
    try:
        Config.model_validate(data)
    except ValidationError as exc:
        return explain(exc, Config, locations=locations)
    return []


def _with_built_in_backends(data: Mapping[str, Any]) -> dict[str, Any]:
    """The file's data, in which its backends stand beside the built-in ones, or replace them."""
    blocks = data.get("backends")
    if not isinstance(blocks, dict):
        return dict(data)
    return {**data, "backends": {**BUILT_IN_BACKENDS, **blocks}}


def _from_environment(
    env: Mapping[str, str],
) -> tuple[dict[str, dict[str, str]], dict[KeyPath, Location]]:
    data: dict[str, dict[str, str]] = {}
    locations: dict[KeyPath, Location] = {}
    for variable, (section, key) in ENVIRONMENT.items():
        value = env.get(variable, "").strip()
        if value:
            data.setdefault(section, {})[key] = value
            locations[(section, key)] = Location(f"environment {variable}")
    return data, locations


def _merged(data: Mapping[str, Any], overrides: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    sections = {name: {**(data.get(name) or {}), **keys} for name, keys in overrides.items()}
    return {**data, **sections}


def _read(path: Path, env: Mapping[str, str]) -> Document:
    source = shown_path(path, env)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except IsADirectoryError:
        raise ConfigError(f"{source} is a folder", "name the file in it") from None
    except FileNotFoundError:
        raise ConfigError(
            f"{source} does not exist", f"make it with: imagen config init > {source}"
        ) from None
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise ConfigError(f"{source} cannot be read: {reason}", "see its permissions") from exc
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{source} is larger than 1 MiB; this is no configuration")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise ConfigError(
            f"{source}:{line}: not UTF-8 (byte 0x{raw[exc.start]:02x})", "save it as UTF-8"
        ) from None
    return parse_document(text, source=source)


def _exists(path: Path) -> bool:
    """Whether the path exists, readable or not; a dangling link counts."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def _expand(path: str | Path, env: Mapping[str, str]) -> Path:
    # Shells do not expand the tilde of `--config=~/imagen.yaml`.
    text = str(path)
    return _home(env) / text[2:] if text.startswith("~/") else Path(text)


def _home(env: Mapping[str, str]) -> Path:
    home = env.get("HOME")
    if home:
        return Path(home)
    try:
        return Path.home()
    except RuntimeError:
        # A user without an entry in the password database, as in some containers.
        return Path("/nonexistent")
