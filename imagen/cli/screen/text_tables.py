"""Tables, on a terminal and as CSV, and what stands in their cells."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from uuid import UUID

from imagen.domain.printable import printable_line

#: Enough of a UUIDv7 to hold its whole time of 48 bits.
_SHORTEST_ID = 13
_WHOLE_ID = 36


def width_of(text: str) -> int:
    """Columns of the text in a terminal, colours left out."""
    plain = text
    while "\033[" in plain:
        before, _, rest = plain.partition("\033[")
        plain = before + rest.partition("m")[2]
    return sum(_columns(character) for character in plain)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def clip(text: str, columns: int) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    if width_of(text) <= columns:
        return text
    kept, used = "", 1
    for character in text:
        used += _columns(character)
        if used > columns:
            break
        kept += character
    return kept + "…"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned lines, with two spaces between the columns and none at the end.

    Cells are cleaned: they come from a ledger or a server.
    """
    lines = [[printable_line(cell) for cell in line] for line in (header, *rows)]
    widths = [max(width_of(line[column]) for line in lines) for column in range(len(header))]
    return [
        "  ".join(
            cell + " " * (width - width_of(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]


def csv_line(values: Sequence[object]) -> str:
    """The values as one line of CSV, without its end; None stays empty."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(values)
    return buffer.getvalue()


def short_ids(ids: Iterable[UUID]) -> dict[UUID, str]:
    """Each id's beginning, long enough to tell it from the others: all of the same length."""
    wanted = set(ids)
    length = _SHORTEST_ID
    while length < _WHOLE_ID and len({str(each)[:length] for each in wanted}) < len(wanted):
        length += 1
    # A hyphen at the end carries nothing: "0193a5b2-7c1d-" is cut before it.
    return {each: str(each)[:length].rstrip("-") for each in wanted}
