"""All usage there is: what arrived in the table elsewhere, and what is still on its way there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Protocol

from imagen.ledger.outbox.backlog import read_unsent_usage
from imagen.ledger.queries.usage_rows import UsageRow
from imagen.ledger.store.engine import Ledger


class UsageTable(Protocol):
    """A usage table that is not in the ledger."""

    def read(self, *, since: datetime | None, until: datetime | None) -> Iterator[UsageRow]:
        """The rows of a time span, oldest first."""


def read_all_usage(
    ledger: Ledger,
    table: UsageTable,
    *,
    since: datetime | None,
    until: datetime | None,
    on_unsent: Callable[[int], None] = lambda _: None,
) -> Iterator[UsageRow]:
    """The table's rows, then those that only the ledger has; each attempt once.

    ``on_unsent`` is told at the end how many the ledger does not know to have arrived, which is
    what ``imagen sync`` would send. Memory grows with these alone.

    Raises:
        CloudError: the table cannot be read.
        LedgerUnavailable: the ledger cannot be read.
    """
    unsent = {row.attempt_id for row in read_unsent_usage(ledger, since=since, until=until)}
    number = len(unsent)
    for row in table.read(since=since, until=until):
        # It arrived, and the process that sent it died before it could say so.
        unsent.discard(row.attempt_id)
        yield row
    for row in read_unsent_usage(ledger, since=since, until=until) if unsent else ():
        if row.attempt_id in unsent:
            yield row
    on_unsent(number)
