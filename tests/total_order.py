"""Tells whether a query's ORDER BY leaves ties, which each database breaks as it likes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import BinaryExpression, FromClause, Join, Select, Table, UniqueConstraint
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import ClauseElement, ColumnElement, UnaryExpression

_DIRECTIONS = {
    operators.desc_op,
    operators.asc_op,
    operators.nulls_first_op,
    operators.nulls_last_op,
}


def queries_with_ties(statement: Any) -> list[str]:
    """The SELECTs in ``statement`` whose order is not total, and those cut off in no order."""
    if not isinstance(statement, ClauseElement):
        return []
    selects = (each for each in _parts(statement) if isinstance(each, Select))
    return [_text(select) for select in selects if _has_ties(select, is_whole=select is statement)]


def _parts(statement: ClauseElement) -> Iterator[Any]:
    """The statement and all that it is made of, each once: a CTE may be named many times."""
    seen: set[int] = set()
    left: list[Any] = [statement]
    while left:
        each = left.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            left.extend(each.get_children())


def _text(expression: ClauseElement) -> str:
    return str(expression.compile(dialect=sqlite.dialect()))


def _has_ties(select: Select[Any], *, is_whole: bool) -> bool:
    ordered = [_bare(each) for each in select._order_by_clauses]
    if not ordered:
        # One row, to see whether there is any, is no list; and inside a count any rows will do.
        limit = select._limit_clause
        return is_whole and limit is not None and getattr(limit, "value", None) != 1
    if _is_one_of_each(select._group_by_clauses, ordered):
        return False
    if select._distinct and _is_one_of_each(select.selected_columns, ordered):
        return False
    known = {*ordered, *_fixed(select)}
    return not any(
        all(column in known for column in key)
        for source in _sources([*select._from_obj, *select.columns_clause_froms])
        for key in _unique_keys(source)
    )


def _is_one_of_each(expressions: Any, ordered: list[Any]) -> bool:
    """Whether rows that are alike in all of ``ordered`` are one row of a grouped query."""
    written = " ".join(_text(each) for each in ordered)
    found = [_text(_bare(each)) for each in expressions]
    return bool(found) and all(each in written for each in found)


def _bare(expression: Any) -> Any:
    while isinstance(expression, UnaryExpression) and expression.modifier in _DIRECTIONS:
        expression = expression.element
    return getattr(expression, "element", expression) if _is_label(expression) else expression


def _is_label(expression: Any) -> bool:
    return getattr(expression, "__visit_name__", "") in ("label", "label_reference")


def _fixed(select: Select[Any]) -> Iterator[ColumnElement[Any]]:
    """The columns that the WHERE clause holds to one value."""
    for condition in select._where_criteria:
        for each in visitors.iterate(condition):
            if isinstance(each, BinaryExpression) and each.operator is operators.eq:
                yield each.left


def _sources(froms: Any) -> Iterator[FromClause]:
    for each in froms:
        if isinstance(each, Join):
            yield from _sources([each.left, each.right])
        else:
            yield each


def _unique_keys(source: FromClause) -> Iterator[list[Any]]:
    inner = getattr(source, "element", None)
    if isinstance(inner, Select) and inner._group_by_clauses:
        yield [source.c.get(getattr(each, "name", "")) for each in inner._group_by_clauses]
    if not isinstance(source, Table) and "id" in source.c:
        yield [source.c.id]
    if list(source.primary_key):
        yield list(source.primary_key)
    if isinstance(source, Table):
        for constraint in source.constraints:
            if isinstance(constraint, UniqueConstraint):
                yield list(constraint.columns)
