"""PostgREST's query language, as far as imagen and its tests speak it."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.supabase.tables import Record, Refused, Table, read_value

Test = Callable[[Record], bool]

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_CONTROLS = ("select", "order", "limit", "offset", "on_conflict", "columns")


class Unparsable(Exception):
    """The query is none of PostgREST's: PGRST100."""


def tests_of(query: tuple[tuple[str, str], ...], table: Table) -> list[Test]:
    """What a row must pass to be in the answer.

    Raises:
        Refused: a column is not there, or a value does not fit it.
        Unparsable: an operator is not known.
    """
    return [
        _read_tree(f"{name}{value}", table)
        if name in ("and", "or")
        else _read_test(name, value, table)
        for name, value in query
        if name not in _CONTROLS
    ]


def ordered(rows: list[Record], order: str, table: Table) -> list[Record]:
    """The rows by ``a.asc,b.desc``; nulls last, or first where it is descending.

    Raises:
        Refused: a column is not there.
    """
    for term in reversed([term for term in order.split(",") if term]):
        column, _, direction = term.partition(".")
        require_column(column, table)

        def place(row: Record, column: str = column) -> tuple[bool, Any]:
            value = row[column]
            return (value is None, 0 if value is None else value)

        rows = sorted(rows, key=place, reverse=direction.startswith("desc"))
    return rows


def require_column(name: str, table: Table) -> str:
    """The column's name.

    Raises:
        Refused: the table has none such.
    """
    if name not in table.columns:
        raise Refused("42703", f"column {table.name}.{name} does not exist")
    return name


def _read_test(name: str, condition: str, table: Table) -> Test:
    kind = table.columns[require_column(name, table)].kind
    word, dot, text = condition.partition(".")
    if word == "is" and text == "null":
        return lambda row: row[name] is None
    if word == "in":
        wanted = [read_value(item.strip('"'), kind) for item in text.strip("()").split(",")]
        return lambda row: row[name] in wanted
    if not dot or word not in _OPERATORS:
        raise Unparsable(condition)
    compare, value = _OPERATORS[word], read_value(text, kind)
    # As in SQL, nothing compares to null.
    return lambda row: row[name] is not None and compare(row[name], value)


def _read_tree(text: str, table: Table) -> Test:
    """``or(a.gt."1",and(a.eq."1",b.gt."2"))``."""
    match = re.fullmatch(r"(and|or)\((.*)\)", text, re.DOTALL)
    if match is None:
        column, _, condition = text.partition(".")
        word, _, value = condition.partition(".")
        return _read_test(column, f"{word}.{_unquote(value)}", table)
    tests = [_read_tree(term, table) for term in _split(match[2])]
    combine = all if match[1] == "and" else any
    return lambda row: combine(test(row) for test in tests)


def _split(text: str) -> list[str]:
    """The terms between commas that stand in no brackets and no quotes."""
    terms, depth, quoted, start, skip = [], 0, False, 0, False
    for place, character in enumerate(text):
        if skip:
            skip = False
        elif quoted and character == "\\":
            skip = True
        elif character == '"':
            quoted = not quoted
        elif not quoted and character in "()":
            depth += 1 if character == "(" else -1
        elif not quoted and depth == 0 and character == ",":
            terms.append(text[start:place])
            start = place + 1
    if quoted or depth:
        raise Unparsable(text)
    return [*terms, text[start:]]


def _unquote(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    if re.search(r'[,()"]', value):
        raise Unparsable(value)
    return value
