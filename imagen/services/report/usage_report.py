"""Usage for people: row by row, or summed by week, backend, model and caller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Protocol
from uuid import UUID

from imagen.domain.usage import GROUPINGS, UsageReport, UsageRow
from imagen.errors import RequestError
from imagen.ledger.outbox.backlog import read_unsent_usage
from imagen.ledger.queries.usage_rows import read_usage
from imagen.ledger.queries.usage_sums import sum_usage, sum_usage_rows
from imagen.ledger.store.engine import Ledger


class UsageTable(Protocol):
    """A usage table that is not in the ledger."""

    def read(self, *, since: datetime | None, until: datetime | None) -> Iterator[UsageRow]:
        """The rows of a time span, oldest first."""


def parse_grouping(text: str) -> tuple[str, ...]:
    """``week,backend`` as a tuple, in the order of the columns.

    Raises:
        RequestError: a word is none of the four.
    """
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in GROUPINGS:
            raise RequestError(f"cannot group by {word!r}", f"use some of {','.join(GROUPINGS)}")
    return tuple(name for name in GROUPINGS if name in words)


@dataclass(frozen=True)
class UsageReader:
    """The usage from ``since`` up to, but without, ``until``; None is no limit.

    Without a ``table`` it is the ledger's. With one it is the table's rows, and then those that
    only the ledger has; each attempt once.
    """

    ledger: Ledger
    table: UsageTable | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def unsent(self) -> int:
        """How many rows the ledger does not know to have arrived: what ``imagen sync`` sends.

        Raises:
            LedgerUnavailable: the ledger cannot be read.
        """
        return 0 if self.table is None else len(self._unsent_ids)

    def rows(self) -> Iterator[UsageRow]:
        """Each row as it comes in. Memory grows with the unsent ones alone.

        Raises:
            CloudError: the table cannot be read.
            LedgerUnavailable: the ledger cannot be read.
        """
        if self.table is None:
            yield from read_usage(self.ledger, since=self.since, until=self.until)
            return
        unsent = set(self._unsent_ids)
        for row in self.table.read(since=self.since, until=self.until):
            # It arrived, and the process that sent it ended before it could record that.
            unsent.discard(row.attempt_id)
            yield row
        for row in self._unsent_rows() if unsent else ():
            if row.attempt_id in unsent:
                yield row

    def report(self, by: tuple[str, ...] = GROUPINGS) -> UsageReport:
        """The sums of all rows, by group and in total.

        Raises:
            CloudError: the table cannot be read.
            LedgerUnavailable: the ledger cannot be read.
        """
        if self.table is None:
            return sum_usage(self.ledger, by=by, since=self.since, until=self.until)
        return sum_usage_rows(self.rows(), by=by)

    @cached_property
    def _unsent_ids(self) -> frozenset[UUID | None]:
        return frozenset(row.attempt_id for row in self._unsent_rows())

    def _unsent_rows(self) -> Iterator[UsageRow]:
        return read_unsent_usage(self.ledger, since=self.since, until=self.until)
