"""Usage row by row, as it comes in: a million of them take no more memory than one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from imagen.cli.screen.csv_line import csv_line
from imagen.cli.screen.screen import json_text
from imagen.cli.shell import Failed, Shell
from imagen.domain.printable import printable_line
from imagen.errors import ImagenError

if TYPE_CHECKING:
    from imagen.ledger.queries.usage_rows import UsageRow

_COLUMNS = (
    *("created_at", "backend", "model", "seed", "prompt_hash"),
    *("latency_ms", "cost_usd", "caller", "attempt_id"),
)
#: Each write is flushed, so that a reader sees it; so many rows go out with one.
_CHUNK = 500


def answer_tabs(shell: Shell, rows: Iterable[UsageRow]) -> None:
    """A header and a line for each row, columns divided by tabs; what is unknown says so."""
    lines = ("\t".join(_cell(value) for value in _values(row)) for row in rows)
    _answer(shell, chain(["\t".join(_COLUMNS)], lines))


def answer_csv(shell: Shell, rows: Iterable[UsageRow]) -> None:
    """The same as CSV; what is unknown stays empty."""
    lines = (csv_line(_values(row)) for row in rows)
    _answer(shell, chain([csv_line(_COLUMNS)], lines))


def answer_json(shell: Shell, rows: Iterable[UsageRow]) -> None:
    """One JSON object that holds every row.

    Raises:
        Failed: the rest cannot be had; the object has been closed, and says so.
    """
    shell.screen.answer('{"rows": [')
    try:
        _answer(shell, _json_rows(rows))
    except ImagenError as error:
        shell.screen.answer(f'], "error": {json_text(error.to_json())}}}')
        # Its answer is out: what follows is for people only.
        shell.wants_json = False
        raise Failed(error) from error
    shell.screen.answer('], "error": null}')


def _json_rows(rows: Iterable[UsageRow]) -> Iterator[str]:
    comma = ""
    for row in rows:
        yield comma + json_text(dict(zip(_COLUMNS, _values(row), strict=True)))
        comma = ","


def _answer(shell: Shell, lines: Iterator[str]) -> None:
    while chunk := list(islice(lines, _CHUNK)):
        shell.screen.answer("\n".join(chunk))


def _values(row: UsageRow) -> tuple[Any, ...]:
    return (
        row.created_at.isoformat(),
        row.backend,
        row.model,
        row.seed,
        row.prompt_hash,
        row.latency_ms,
        None if row.cost_usd is None else float(row.cost_usd),
        row.caller,
        str(row.attempt_id) if row.attempt_id else None,
    )


def _cell(value: object) -> str:
    return "unknown" if value is None else printable_line(str(value))
