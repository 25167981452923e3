"""Tables of the fake's database: columns with kinds, unique indexes, and PostgreSQL's refusals."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from uuid import UUID, uuid4

Record = dict[str, Any]
Index = tuple[str, ...]
Values = tuple[Any, ...]


class Refused(Exception):
    """The database refuses a statement: SQLSTATE, message and details, as PostgreSQL words it."""

    def __init__(self, code: str, message: str, details: str | None = None) -> None:
        super().__init__(code, message, details)
        self.code = code
        self.message = message
        self.details = details


@dataclass(frozen=True)
class Column:
    """``kind`` is PostgreSQL's name of the type."""

    kind: str
    not_null: bool = False
    default: Callable[[], Any] | None = None


@dataclass
class Table:
    """One table. ``unique`` holds its unique indexes, the primary key first."""

    schema: str
    name: str
    columns: dict[str, Column]
    unique: list[Index]
    rows: list[Record] = field(default_factory=list)
    _seen: dict[Index, dict[Values, Record]] = field(default_factory=dict, repr=False)
    _seen_rows: int = 0

    def drop_column(self, column: str) -> None:
        """As an older table would be: without it, and without the indexes on it."""
        del self.columns[column]
        self.unique = [index for index in self.unique if column not in index]
        for row in self.rows:
            row.pop(column, None)
        self._seen = {}

    def complete(self, given: Mapping[str, Any]) -> Record:
        """The row as it would be stored.

        Raises:
            Refused: a value does not fit its column.
        """
        row: Record = {}
        for name, column in self.columns.items():
            if name in given:
                row[name] = read_value(given[name], column.kind)
            else:
                row[name] = column.default() if column.default else None
            if row[name] is None and column.not_null:
                raise Refused(
                    "23502",
                    f'null value in column "{name}" of relation "{self.name}"'
                    " violates not-null constraint",
                    f"Failing row contains ({', '.join(map(str, given.values()))}).",
                )
        return row

    def insert(
        self, given: Sequence[Mapping[str, Any]], *, on_conflict: Index, merge: bool | None
    ) -> tuple[list[Record], bool]:
        """Insert all rows or none: the rows touched, and whether any of them is new.

        ``merge`` is nothing where a clash is an error, whatever ``on_conflict`` says.

        Raises:
            Refused: one of them does not fit.
        """
        if merge is not None and on_conflict not in self.unique:
            raise Refused(
                "42P10",
                "there is no unique or exclusion constraint matching the ON CONFLICT specification",
            )
        self._look_at_all()
        new: list[Record] = []
        changed: list[tuple[Record, Record]] = []
        taken = {index: dict[Values, Record]() for index in self.unique}
        for each in given:
            row = self.complete(each)
            found = self._clash(row, taken)
            if found is None:
                new.append(row)
                for index, values in self._values(row):
                    taken[index][values] = row
                continue
            index, other = found
            if merge is None or index != on_conflict:
                raise self._duplicate(index, row)
            if merge and (other in new or any(other is old for old, _ in changed)):
                message = "ON CONFLICT DO UPDATE command cannot affect row a second time"
                raise Refused("21000", message)
            if merge:
                changed.append((other, {name: row[name] for name in each}))
        for row, update in changed:
            row.update(update)
        self.rows.extend(new)
        # Only what was added needs to be seen; a merge may have changed anything.
        for index, rows in taken.items():
            self._seen[index].update(rows)
        self._seen_rows = 0 if changed else len(self.rows)
        return [*new, *(row for row, _ in changed)], bool(new)

    def _clash(
        self, row: Record, taken: Mapping[Index, Mapping[Values, Record]]
    ) -> tuple[Index, Record] | None:
        """The first unique index that a row breaks, and the row it clashes with."""
        for index, values in self._values(row):
            other = self._seen[index].get(values) or taken[index].get(values)
            if other is not None:
                return index, other
        return None

    def _look_at_all(self) -> None:
        """Bring the indexes up to date, also after a test has changed the rows by itself."""
        if self._seen and self._seen_rows == len(self.rows):
            return
        self._seen = {index: {} for index in self.unique}
        for row in self.rows:
            for index, values in self._values(row):
                self._seen[index][values] = row

    def _values(self, row: Record) -> Iterator[tuple[Index, Values]]:
        """What a row puts into each unique index; nulls clash with nothing."""
        for index in self.unique:
            values = tuple(row[column] for column in index)
            if None not in values:
                yield index, values

    def _duplicate(self, index: Index, row: Record) -> Refused:
        label = "pkey" if index == self.unique[0] else f"{'_'.join(index)}_key"
        values = ", ".join(str(row[column]) for column in index)
        return Refused(
            "23505",
            f'duplicate key value violates unique constraint "{self.name}_{label}"',
            f"Key ({', '.join(index)})=({values}) already exists.",
        )


_INTEGERS = {"integer": 2**31, "bigint": 2**63}
_NUL = re.compile("\x00")


def read_value(value: Any, kind: str) -> Any:
    """A JSON value as a column of that kind keeps it.

    Raises:
        Refused: it does not fit.
    """
    if value is None:
        return None
    if _holds_nul(value):
        raise Refused("22P05", "unsupported Unicode escape sequence", "\\u0000 cannot be text.")
    try:
        return _READERS[kind](value)
    except (ValueError, TypeError, InvalidOperation):
        message = f'invalid input syntax for type {kind}: "{value}"'
        raise Refused("22P02", message) from None


def _read_integer(value: Any, kind: str) -> int:
    number = int(str(value))
    if not -_INTEGERS[kind] <= number < _INTEGERS[kind]:
        raise Refused("22003", f'value "{value}" is out of range for type {kind}')
    return number


def _read_numeric(value: Any) -> Decimal:
    """numeric(12,6): rounds in silence, and refuses what has more than six digits before."""
    number = Decimal(str(value)).quantize(Decimal("0.000001"), ROUND_HALF_UP)
    if abs(number) >= 10**6:
        raise Refused("22003", "numeric field overflow")
    return number


def _read_time(value: Any) -> datetime:
    found = datetime.fromisoformat(str(value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _read_list(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise ValueError(value)
    return [str(item) for item in value]


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "uuid": lambda value: str(UUID(str(value))),
    "text": str,
    "integer": lambda value: _read_integer(value, "integer"),
    "bigint": lambda value: _read_integer(value, "bigint"),
    "numeric": _read_numeric,
    "timestamptz": _read_time,
    "jsonb": lambda value: value,
    "text[]": _read_list,
}


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return _NUL.search(value) is not None
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_holds_nul, value))


def new_tables() -> dict[tuple[str, str], Table]:
    """imagen's two tables, empty."""
    numbers = itertools.count(1)
    spent = {
        "backend": Column("text", not_null=True),
        "model": Column("text"),
        "seed": Column("bigint"),
        "prompt_hash": Column("text"),
        "latency_ms": Column("integer"),
        "cost_usd_estimate": Column("numeric"),
    }
    created_at = Column("timestamptz", not_null=True, default=lambda: datetime.now(UTC))
    usage = Table(
        "mai",
        "imagen_usage",
        {
            "id": Column("bigint", not_null=True, default=lambda: next(numbers)),
            "created_at": created_at,
            **spent,
            "caller": Column("text"),
            "attempt_id": Column("uuid"),
        },
        [("id",), ("attempt_id",)],
    )
    images = Table(
        "imagen",
        "images",
        {
            "id": Column("uuid", not_null=True, default=lambda: str(uuid4())),
            "owner_user_id": Column("uuid", not_null=True),
            "job_id": Column("uuid"),
            "storage_path": Column("text", not_null=True),
            "prompt": Column("text"),
            **spent,
            "steps": Column("integer"),
            "width": Column("integer"),
            "height": Column("integer"),
            "sidecar": Column("jsonb"),
            "tags": Column("text[]", not_null=True, default=list),
            "created_at": created_at,
        },
        [("id",), ("job_id",)],
    )
    return {("mai", "imagen_usage"): usage, ("imagen", "images"): images}
