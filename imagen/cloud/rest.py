"""Supabase's REST API (PostgREST): inserts that may be repeated, and selects that miss no row."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote
from uuid import UUID

from imagen.cloud.http import CloudHttp, read_body
from imagen.cloud.refusal import not_supabase
from imagen.cloud.rest_refusals import NAME, missing_column_of, rest_refusal
from imagen.cloud.settings import SupabaseSettings
from imagen.http.exchange import HttpAnswer

#: A column's name and value each.
Row = Mapping[str, Any]
#: A column, an operator of PostgREST's (``eq``, ``gte``, ``lt``, ``is`` …), and a value.
Filter = tuple[str, str, object]

# Statements may take 8 s there: observed on PostgREST 12.0.2 with Supabase's roles.
_READ_TIMEOUT_S = 20.0
# PostgREST refuses NUL with 22P05 and half a surrogate pair with PGRST102. Rows quote texts of
# backends and files, which are not cleaned as prompts are.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class RestClient:
    """Tables of one project. Threads may share it; each call blocks 20 s or a bit more."""

    def __init__(
        self, settings: SupabaseSettings, *, read_timeout_s: float = _READ_TIMEOUT_S
    ) -> None:
        self._settings = settings
        self._http = CloudHttp(settings, "/rest/v1", name=NAME, read_timeout_s=read_timeout_s)

    def insert(self, schema: str, table: str, row: Row, *, on_conflict: str, merge: bool) -> None:
        """Insert the row. Safe to repeat after any failure.

        ``on_conflict`` names the column (``"attempt_id"``) whose unique index tells a row that
        is there already; with ``merge`` it is overwritten, without, it stays as it is.

        Raises:
            CloudError: the row is not known to be there. With ``only_this`` other rows may pass.
        """
        resolution = "merge-duplicates" if merge else "ignore-duplicates"
        answer = self._http.call(
            "POST",
            f"/{quote(table, safe='')}",
            params=[("on_conflict", on_conflict)],
            data=encode_row(row),
            headers={
                **_profile(schema),
                "Content-Type": "application/json",
                "Prefer": f"resolution={resolution},return=minimal",
            },
        )
        self._check(answer, schema, table)
        # A network's login page answers 200 to everything, too.
        if answer.raw.strip():
            raise not_supabase(self._settings, name=NAME, status=answer.status)

    def select_pages(
        self,
        schema: str,
        table: str,
        columns: Sequence[str],
        filters: Sequence[Filter] = (),
        *,
        order: Sequence[str],
        page: int = 1000,
    ) -> Iterator[dict[str, Any]]:
        """Every matching row, ascending by ``order``, one page in memory at a time.

        ``order`` names columns that are never null and together unique, such as
        ``("created_at", "id")``. Each page starts after the last row of the one before: neither
        the server's own limit of rows nor a row written meanwhile makes it miss another. Numbers
        with a point come as Decimal, times as text.

        Raises:
            CloudError: the remaining rows cannot be read.
        """
        wanted = list(dict.fromkeys([*columns, *order]))
        extra = set(wanted) - set(columns)
        after: list[tuple[str, str]] = []
        while True:
            params = [("select", ",".join(wanted)), *(_param(*each) for each in filters), *after]
            params += [("order", ",".join(f"{column}.asc" for column in order))]
            rows = self._select(schema, table, [*params, ("limit", str(page))])
            if not rows:
                # Fewer rows than asked for mean nothing: the server has a limit of its own.
                return
            after = _after(order, rows[-1])
            for row in rows:
                yield {key: value for key, value in row.items() if key not in extra}

    def missing_columns(self, schema: str, table: str, columns: Sequence[str]) -> tuple[str, ...]:
        """Those of ``columns`` that the table lacks: it may be older than this program.

        Reads no rows. It also checks the key, the schema, the table and the rights.

        Raises:
            CloudError: one of these is wrong.
        """
        rest, missing = list(columns), list[str]()
        while rest:
            answer = self._get(schema, table, [("select", ",".join(rest)), ("limit", "0")])
            column = missing_column_of(answer)
            if column not in rest:
                self._check(answer, schema, table)
                break
            rest.remove(column)
            missing.append(column)
        return tuple(missing)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _select(
        self, schema: str, table: str, params: Sequence[tuple[str, str]]
    ) -> list[dict[str, Any]]:
        answer = self._get(schema, table, params)
        self._check(answer, schema, table)
        rows = read_body(answer)
        if not isinstance(rows, list):
            raise not_supabase(self._settings, name=NAME, status=answer.status)
        return rows

    def _get(self, schema: str, table: str, params: Sequence[tuple[str, str]]) -> HttpAnswer:
        return self._http.call(
            "GET", f"/{quote(table, safe='')}", params=params, headers=_profile(schema)
        )

    def _check(self, answer: HttpAnswer, schema: str, table: str) -> None:
        if not 200 <= answer.status < 300:
            raise rest_refusal(answer, self._settings, schema=schema, table=table)


def _profile(schema: str) -> dict[str, str]:
    # GET reads the one header, POST the other; without it the schema is "public".
    return {"Accept-Profile": schema, "Content-Profile": schema}


def _param(column: str, operator: str, value: object) -> tuple[str, str]:
    return column, f"{operator}.{_text(value)}"


def _after(order: Sequence[str], row: Row) -> list[tuple[str, str]]:
    """The filters for the rows after ``row``: (a, b) > (1, 2) is a > 1 or (a = 1 and b > 2)."""
    if len(order) == 1:
        return [_param(order[0], "gt", row[order[0]])]
    terms = []
    for depth, column in enumerate(order):
        equal = [f"{above}.eq.{_quoted(row[above])}" for above in order[:depth]]
        step = [*equal, f"{column}.gt.{_quoted(row[column])}"]
        terms.append(f"and({','.join(step)})" if equal else step[0])
    # The first filter is implied by the second, but lets the server use an index.
    return [_param(order[0], "gte", row[order[0]]), ("or", f"({','.join(terms)})")]


def _quoted(value: object) -> str:
    escaped = _text(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime | date) else str(value)


def encode_row(row: Row) -> bytes:
    """A JSON array of the one row. Dates become ISO text, Decimals numbers, ids text.

    What cannot be stored is left out of a text, and is null as a number.
    """
    return json.dumps([_storable(row)], allow_nan=False).encode()


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("", value)
    if isinstance(value, Mapping):
        return {_storable(str(key)): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_storable(item) for item in value]
    if isinstance(value, Decimal | float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    return value
