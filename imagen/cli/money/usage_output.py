"""How usage is shown: tables for people, objects or CSV for programs, sums or row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import chain, islice

from imagen.cli.screen.screen import json_text
from imagen.cli.screen.text_tables import csv_line, table, width_of
from imagen.cli.shell import Failed, Shell
from imagen.domain.printable import printable, printable_line
from imagen.domain.usage import UsageReport, UsageRow, UsageSum
from imagen.errors import ImagenError

_LEAST_DECIMALS, _MOST_DECIMALS = 2, 6
_ROW_COLUMNS = tuple(UsageRow.__dataclass_fields__)
#: Each write is flushed, so that a reader sees it; so many rows go out with one.
_ROWS_PER_WRITE = 500


def csv_lines(report: UsageReport) -> list[str]:
    """A header, and a line for each group; programs add up themselves."""
    lines = [csv_line((*report.by, *report.total.to_json()))]
    groups = report.groups if report.by else [report.total]
    for group in groups:
        cost_usd = "" if group.is_unpriced else f"{group.cost_usd:f}"
        figures = group.to_json() | {"cost_usd": cost_usd}
        lines.append(csv_line((*group.key, *figures.values())))
    return lines


def table_lines(report: UsageReport) -> list[str]:
    """Aligned columns and a last line with the totals; empty where there is no usage."""
    if not report.total.count:
        return []
    sums = [*report.groups, report.total]
    decimals = _decimals(sums)
    columns = {
        "IMAGES": [f"{each.count:,}" for each in sums],
        "COST": [_cost(each, decimals) for each in sums],
        "UNPRICED": [f"{each.unpriced:,}" if each.unpriced else "" for each in sums],
        "MEDIAN": [_latency(each) for each in sums],
    }
    if not report.total.unpriced:
        del columns["UNPRICED"]
    aligned = [_to_the_right(name, cells) for name, cells in columns.items()]
    keys = [tuple(map(printable, group.key)) for group in report.groups]
    keys.append(("total", *[""] * (len(report.by) - 1)))
    header = [*(name.upper() for name in report.by or ("",)), *(cells[0] for cells in aligned)]
    rows = [
        (*key, *(cells[number] for cells in aligned)) for number, key in enumerate(keys, start=1)
    ]
    return table(header, rows)


def _cost(each: UsageSum, decimals: int) -> str:
    return "unknown" if each.is_unpriced else f"${each.cost_usd:,.{decimals}f}"


def _decimals(sums: Iterable[UsageSum]) -> int:
    """The decimals that every sum needs, from 2 to 6."""
    most = _LEAST_DECIMALS
    for each in sums:
        exponent = Decimal(each.cost_usd).normalize().as_tuple().exponent
        most = max(most, -exponent if isinstance(exponent, int) else 0)
    return min(most, _MOST_DECIMALS)


def _latency(each: UsageSum) -> str:
    return "" if each.median_latency_ms is None else f"{each.median_latency_ms:,} ms"


def _to_the_right(header: str, cells: Sequence[str]) -> list[str]:
    width = max(map(width_of, (header, *cells)))
    return [cell.rjust(width) for cell in (header, *cells)]


def answer_tabs(shell: Shell, rows: Iterable[UsageRow]) -> None:
    """A header and a line for each row, columns divided by tabs; unknown values are named so."""
    lines = ("\t".join(_row_cell(value) for value in row.to_json().values()) for row in rows)
    _write(shell, chain(["\t".join(_ROW_COLUMNS)], lines))


def answer_csv(shell: Shell, rows: Iterable[UsageRow]) -> None:
    """The same as CSV; unknown values stay empty."""
    lines = (csv_line([*row.to_json().values()]) for row in rows)
    _write(shell, chain([csv_line(_ROW_COLUMNS)], lines))


def answer_json(shell: Shell, rows: Iterable[UsageRow]) -> None:
    """One JSON object that holds every row.

    Raises:
        Failed: the remaining rows cannot be read; the object is closed, with the error in it.
    """
    shell.screen.answer('{"rows": [')
    try:
        _write(shell, _json_rows(rows))
    except ImagenError as error:
        shell.screen.answer(f'], "error": {json_text(error.to_json())}}}')
        # The answer is complete: all further output is for people.
        shell.wants_json = False
        raise Failed(error) from error
    shell.screen.answer('], "error": null}')


def _json_rows(rows: Iterable[UsageRow]) -> Iterator[str]:
    comma = ""
    for row in rows:
        yield comma + json_text(row.to_json())
        comma = ","


def _write(shell: Shell, lines: Iterator[str]) -> None:
    while chunk := list(islice(lines, _ROWS_PER_WRITE)):
        shell.screen.answer("\n".join(chunk))


def _row_cell(value: object) -> str:
    return "unknown" if value is None else printable_line(str(value))
