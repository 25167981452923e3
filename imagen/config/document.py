"""YAML text as plain data and the line of every key; defects are listed, not raised."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from imagen.config.locations import KeyPath, Location, Problem

#: Far more than a configuration needs; stops a bomb of aliases before it takes memory.
MAX_VALUES = 20_000
MAX_DEPTH = 40
MAX_DIGITS = 40

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"

# YAML 1.1 reads `on` and `yes` as booleans, `12:30` as 750, `010` as 8 and `2026-01-02` as a date.
# Here everything is text that YAML 1.2 and JSON do not both read as something else.
_PLAIN: dict[str, re.Pattern[str]] = {
    _TAG + "null": re.compile(r"(?:~|null|Null|NULL|)\Z"),
    _TAG + "bool": re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"),
    _TAG + "int": re.compile(r"[-+]?[0-9]+\Z"),
    _TAG + "float": re.compile(
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?\Z"
    ),
}
_READ: dict[str, Callable[[str], object]] = {
    _TAG + "null": lambda _: None,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "int": int,
    _TAG + "float": float,
}

# The C parser is ten times as fast, and missing where PyYAML was built without libyaml.
_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BaseLoader):  # type: ignore[misc]  # chosen at run time
    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way to say it
        None: [*_PLAIN.items(), (_MERGE, re.compile(r"<<\Z"))]
    }


@dataclass(frozen=True)
class Document:
    """The content of a file: plain data, the location of each value, defects of the YAML."""

    data: dict[str, Any] = field(default_factory=dict)
    locations: dict[KeyPath, Location] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


class _TooMuch(Exception):
    """The document is larger than any configuration; ``args`` are the line and a sentence."""


def parse_document(text: str, *, source: str) -> Document:
    """The data in ``text``; ``source`` is the file's name as messages show it."""

    def failed(line: int, sentence: str) -> Document:
        return Document(problems=(Problem(Location(source, line), sentence),))

    try:
        _bound(text)
        root = yaml.compose(text, Loader=_Loader)
        if root is None:
            return Document()
        reader = _Reader(source)
        data = reader.value(root, (), 0)
    except _TooMuch as exc:
        return failed(*exc.args)
    except yaml.YAMLError as exc:
        return failed(*_explain(exc, text))
    problems = tuple(dict.fromkeys(reader.problems))
    if data is None:
        return Document(problems=problems)
    if not isinstance(data, dict):
        if problems:
            return Document(problems=problems)
        kind = "a list" if isinstance(data, list) else "a single value"
        return failed(
            root.start_mark.line + 1,
            f"the file holds {kind}; it must hold keys, such as 'default_backend: mock'",
        )
    return Document(data, reader.locations, problems)


def _bound(text: str) -> None:
    # Composing recurses in C, so the depth is checked first, on the flat stream of events.
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or count > MAX_VALUES:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise _TooMuch(line, _too_much(depth))


def _too_much(depth: int) -> str:
    if depth > MAX_DEPTH:
        return f"nested more than {MAX_DEPTH} deep"
    return f"more than {MAX_VALUES:,} values, aliases written out; this is no configuration"


class _Reader:
    """Turns composed nodes into data; records locations and problems."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._seen = 0
        self._open: set[int] = set()
        self.locations: dict[KeyPath, Location] = {}
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, path: KeyPath, depth: int) -> Any:
        self._seen += 1
        if self._seen > MAX_VALUES or depth > MAX_DEPTH:
            raise _TooMuch(node.start_mark.line + 1, _too_much(depth))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            self._add_problem(node, "an alias that stands inside what it names")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path, depth)
            return self._sequence(node, path, depth)
        finally:
            self._open.remove(id(node))

    def _scalar(self, node: yaml.ScalarNode) -> object:
        defect = _defect(node)
        if defect:
            self._add_problem(node, defect)
            return None
        return _READ[node.tag](node.value) if node.tag in _READ else node.value

    def _sequence(self, node: yaml.Node, path: KeyPath, depth: int) -> object:
        if node.tag != _TAG + "seq":
            self._add_problem(node, _unsupported(node.tag))
            return None
        items = []
        for index, item in enumerate(node.value):
            self.locations[(*path, index)] = self._location(item)
            items.append(self.value(item, (*path, index), depth + 1))
        return items

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, depth: int) -> object:
        if node.tag != _TAG + "map":
            self._add_problem(node, _unsupported(node.tag))
            return None
        # Merged keys first, so that the mapping's own keys win, whatever their order.
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                found.update(self._merged(value_node, path, depth))
        first_lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                continue
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _TAG + "null":
                self._add_problem(key_node, "a key must be plain text")
                continue
            key = key_node.value
            line = key_node.start_mark.line + 1
            if key in first_lines:
                self._add_problem(
                    key_node,
                    f"duplicate key {key[:60]!r}; it stands on line {first_lines[key]} too",
                )
            first_lines.setdefault(key, line)
            self.locations[(*path, key)] = Location(self._source, line)
            found[key] = self.value(value_node, (*path, key), depth + 1)
        return found

    def _merged(self, node: yaml.Node, path: KeyPath, depth: int) -> dict[str, Any]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[str, Any] = {}
        for each in reversed(nodes):  # the first named wins
            if not isinstance(each, yaml.MappingNode):
                self._add_problem(each, "'<<' must name a block of keys, such as '<<: *base'")
                continue
            block = self.value(each, path, depth + 1)
            found.update(block if isinstance(block, dict) else {})
        return found

    def _add_problem(self, node: yaml.Node, sentence: str) -> None:
        self.problems.append(Problem(self._location(node), sentence))

    def _location(self, node: yaml.Node) -> Location:
        return Location(self._source, node.start_mark.line + 1)


def _defect(node: yaml.ScalarNode) -> str:
    """Why the value is refused; "" where it is not."""
    text: str = node.value
    if re.search("[\x00\ud800-\udfff]", text):
        return "a NUL or half a surrogate pair cannot stand in a value"
    if node.tag in (_TAG + "str", _MERGE):
        return ""
    pattern = _PLAIN.get(node.tag)
    if pattern is None:
        return _unsupported(node.tag)
    if not pattern.match(text):
        return f"{text[:60]!r} is not what its tag says it is"
    if len(text) > MAX_DIGITS:
        return f"a number of {len(text)} characters; put text in quotes"
    if node.tag == _TAG + "float" and math.isinf(float(text)):
        return f"the number {text} is too large"
    return ""


def _unsupported(tag: object) -> str:
    return f"the tag {str(tag).replace(_TAG, '!!')[:60]!r} is not supported; write a plain value"


def _explain(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """The line at which PyYAML stopped, and the usual mistake there."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 1
        return line, "not readable as YAML: it holds a control character"
    lines = text.splitlines()
    line = min(mark.line + 1, max(len(lines), 1))
    context_mark = getattr(error, "context_mark", None)
    suspects = {line, context_mark.line + 1 if context_mark else line}
    for number in sorted(suspects):
        if number <= len(lines) and re.match(r" *\t", lines[number - 1]):
            return number, "indented with a tab; YAML wants spaces"
    problem = getattr(error, "problem", None) or "cannot be parsed"
    if problem.startswith("but "):
        problem = f"{getattr(error, 'context', '')} {problem}"
    advice = ""
    if re.search(r"[{}\[\]@%`&*:!]", lines[line - 1] if lines else ""):
        advice = "; a value with { } [ ] : # @ % & * ! or ` in it needs quotes around it"
    return line, f"not readable as YAML: {problem}{advice}"
