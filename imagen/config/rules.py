"""Rules for the file as a whole: it holds no secrets, and no name of an unknown backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from imagen.config.explain import dotted, near_miss
from imagen.config.locations import BUILT_IN, KeyPath, Location, Problem
from imagen.config.schema import BUILT_IN_BACKENDS
from imagen.domain.secret_names import is_secret_name


def find_secrets(data: Mapping[str, Any], locations: Mapping[KeyPath, Location]) -> list[Problem]:
    """A problem for each key of a backend that would hold a token: the environment has those."""
    blocks = data.get("backends")
    if not isinstance(blocks, dict):
        return []
    return [
        Problem(
            locations.get(path, BUILT_IN),
            f"{dotted(path)}: tokens never stand in the file;"
            f" set {_env_key(path)} and export the variable",
        )
        for path in _keys(blocks, ("backends",))
        if len(path) > 2 and _looks_secret(path)
    ]


def find_dangling_names(
    data: Mapping[str, Any], locations: Mapping[KeyPath, Location]
) -> list[Problem]:
    """A problem for each key that names a backend which is neither configured nor built in."""
    blocks = data.get("backends")
    known = sorted({*BUILT_IN_BACKENDS, *(blocks if isinstance(blocks, dict) else ())})
    named: list[tuple[KeyPath, object]] = [(("default_backend",), data.get("default_backend"))]
    styles = data.get("styles")
    for name, style in styles.items() if isinstance(styles, dict) else ():
        if isinstance(style, dict):
            named.append((("styles", name, "backend"), style.get("backend")))
    return [
        Problem(locations.get(path, BUILT_IN), f"{dotted(path)} names {_unknown(value, known)}")
        for path, value in named
        if isinstance(value, str) and value and value not in known
    ]


def _unknown(name: str, known: list[str]) -> str:
    guess = near_miss(name, known) or f"; configured backends: {', '.join(known)}"
    return f"the unknown backend {name[:60]!r}{guess}"


def _keys(block: Mapping[str, Any], path: KeyPath) -> Iterator[KeyPath]:
    for key, value in block.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from _keys(value, (*path, key))


def _looks_secret(path: KeyPath) -> bool:
    key = str(path[-1])
    if str(path[-2]).endswith("_env"):
        # input_env names variables.
        return False
    # Deeper down a mere "key" is a model's input, and music has a key too.
    return is_secret_name(key) or (key.lower() == "key" and len(path) == 3)


def _env_key(path: KeyPath) -> str:
    key = str(path[-1])
    if len(path) > 3:
        return f"input_env: {{{key}: {key.upper()}}}"
    plain = key.lower().replace("-", "_")
    return f"{plain}_env" if plain in ("api_token", "api_key") else "api_token_env"
