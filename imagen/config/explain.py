"""Pydantic's errors as sentences with a line number, for imagen.yaml and adapters' sub-blocks."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from imagen.config.locations import BUILT_IN, KeyPath, Location, Problem

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a block of keys",
    "mapping_type": "a block of keys",
    "model_type": "a block of keys",
    "model_attributes_type": "a block of keys",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "path_type": "a path",
    "none_required": "empty",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_SECRET = re.compile(r"token|password|passwd|secret|api_?key|authorization", re.IGNORECASE)
_CREDENTIALS = re.compile(r"://\S*@")
# A long word with a digit in it may be a token that was written into the wrong line.
_TOKEN_LIKE = re.compile(r"(?=\D*\d)[\w.-]{20,}", re.ASCII)


def explain(
    error: ValidationError,
    model: type[BaseModel],
    *,
    locations: Mapping[KeyPath, Location],
    at: KeyPath = (),
    also: Iterable[str] = (),
) -> list[Problem]:
    """What is wrong with data that ``model`` refused, one problem for each value, in no order.

    ``at`` is the path of that data in the file whose ``locations`` are given; ``also`` are keys
    that are allowed there besides the model's own.
    """
    by_path: dict[tuple[KeyPath, str], list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        path = _written_path((*at, *details["loc"]), details["type"], locations, len(at))
        kind = details["type"] if details["type"] in ("missing", "extra_forbidden") else ""
        by_path.setdefault((path, kind), []).append(details)
    return [
        Problem(
            _nearest_location(path[:-1] if kind == "missing" else path, locations),
            _sentence(path, group, model, at=at, also=also),
        )
        for (path, kind), group in by_path.items()
    ]


def near_miss(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'url'?`` where one of ``known`` is close to ``word``, else ""."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


def unknown_key(path: KeyPath, known: Iterable[str], *, belongs_under: str = "") -> str:
    """The sentence about an unknown key: its path, and the key that was probably meant."""
    names = sorted(known)
    key = str(path[-1])
    parent = f" in {dotted(path[:-1])}" if len(path) > 1 else ""
    if belongs_under:
        return f"unknown key {_short(key)}{parent}; it belongs under '{belongs_under}:'"
    guess = near_miss(key, names)
    if not guess:
        guess = f"; known keys: {', '.join(names)}" if names else ""
    return f"unknown key {_short(key)}{parent}{guess}"


def dotted(path: KeyPath) -> str:
    """``backends.mock.url`` or ``results.allowed_dirs[0]``; safe to print and bounded."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    text = "".join(c if c.isprintable() else "?" for c in text.removeprefix("."))
    return text if len(text) <= 120 else text[:119] + "…"


def _written_path(
    loc: tuple[str | int, ...], kind: str, locations: Mapping[KeyPath, Location], start: int
) -> KeyPath:
    """``loc`` without the parts that pydantic adds: names of union members, and ``[key]``."""
    if loc[: start + 1] not in locations:
        return loc
    path = loc[:start]
    for key in loc[start:-1] if kind == "missing" else loc[start:]:
        if (*path, key) in locations:
            path = (*path, key)
    return (*path, loc[-1]) if kind == "missing" else path


def _nearest_location(path: KeyPath, locations: Mapping[KeyPath, Location]) -> Location:
    for end in range(len(path), 0, -1):
        if path[:end] in locations:
            return locations[path[:end]]
    # A key is missing at the top of a file: its first line stands for it.
    return next((Location(each.source, 1) for each in locations.values() if each.line), BUILT_IN)


def _sentence(
    path: KeyPath,
    group: list[ErrorDetails],
    model: type[BaseModel],
    *,
    at: KeyPath,
    also: Iterable[str],
) -> str:
    first = group[0]
    if first["type"] == "extra_forbidden":
        inner = path[len(at) :]
        owner = _model_at(model, inner[:-1])
        known = [*(known_keys(owner) if owner else ()), *(also if len(inner) == 1 else ())]
        home = _section_with(model, str(path[-1])) if len(path) == 1 else ""
        return unknown_key(path, known, belongs_under=home)
    if first["type"] == "missing":
        return f"{dotted(path[:-1]) or 'the file'} needs {str(path[-1])!r}"
    expected = list(dict.fromkeys(filter(None, (_expected(details) for details in group))))
    name = dotted(path)
    if not expected:
        return f"{name}: {_free_text(first)}"
    shown = _shown(str(path[-1]) if path else "", first["input"])
    quotes = "; put it in quotes" if _wants_quotes(expected, first["input"]) else ""
    return f"{name} must be {' or '.join(expected)}, not {shown}{quotes}"


def _expected(details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        bound = context[key]
        return f"{words} {bound:g}" if isinstance(bound, float) else f"{words} {bound}"
    if kind in ("literal_error", "enum"):
        return str(context["expected"])
    if kind == "string_too_short":
        return "filled in" if context["min_length"] == 1 else f"{context['min_length']} characters"
    if kind.startswith("date_"):
        return "a date such as 2026-01-31"
    return _EXPECTED.get(kind, "")


def _free_text(details: ErrorDetails) -> str:
    error = details.get("ctx", {}).get("error")
    text = str(error) if error is not None else details["msg"]
    return _CREDENTIALS.sub("://***@", text[:1].lower() + text[1:] if text[1:2].islower() else text)


def _wants_quotes(expected: list[str], value: object) -> bool:
    # An unquoted `{date}.{ext}` is a mapping to YAML, an unquoted 2026 a number.
    return "text" in expected and value is not None and not isinstance(value, list)


def _shown(key: str, value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a block of keys"
    if isinstance(value, list | tuple):
        return "a list"
    if _SECRET.search(key) or (isinstance(value, str) and _TOKEN_LIKE.search(value)):
        return "what stands there"
    if isinstance(value, str):
        return _short(_CREDENTIALS.sub("://***@", value)) if value else "empty"
    return f"the number {value}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")


def known_keys(model: type[BaseModel]) -> list[str]:
    """The keys that ``model`` reads, as they are written in a file."""
    return [_written_name(name, model) for name in model.model_fields]


def _written_name(name: str, model: type[BaseModel]) -> str:
    field = model.model_fields[name]
    alias = field.validation_alias or field.alias
    return alias if isinstance(alias, str) else name


def _section_with(model: type[BaseModel], key: str) -> str:
    for name in model.model_fields:
        section = _model_at(model, (name,))
        if section and key in known_keys(section):
            return name
    return ""


def _model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """The model that reads the value at ``path`` below ``model``."""
    annotation: Any = model
    for key in path:
        annotation = _step(annotation, key)
    return next((each for each in _members(annotation) if _is_model(each)), None)


def _step(annotation: Any, key: str | int) -> Any:
    for each in _members(annotation):
        if _is_model(each):
            for name, field in each.model_fields.items():
                if _written_name(name, each) == key:
                    return field.annotation
        elif get_origin(each) is not None and get_args(each):
            # A mapping's values, or a list's items.
            return get_args(each)[1 if isinstance(key, str) and len(get_args(each)) > 1 else 0]
    return None


def _members(annotation: Any) -> Iterator[Any]:
    """The types that ``annotation`` allows: a union's one by one, without ``Annotated``."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for each in get_args(annotation):
            yield from _members(each)
    else:
        yield annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
