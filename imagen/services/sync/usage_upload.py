"""The sinks of the outbox for usage rows: the project's table over REST, or the ledger itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from imagen.cloud.rest import Filter, RestClient
from imagen.domain.job import Claim
from imagen.domain.usage import UsageRow
from imagen.ledger.outbox.outbox import OutboxItem
from imagen.ledger.queries.usage_rows import usage_of

USAGE_SCHEMA, USAGE_TABLE = "mai", "imagen_usage"
_USAGE_COLUMNS = (
    *("created_at", "backend", "model", "seed", "prompt_hash"),
    *("latency_ms", "cost_usd_estimate", "caller", "attempt_id"),
)


def missing_usage_columns(rest: RestClient) -> tuple[str, ...]:
    """The columns that the usage table lacks.

    Raises:
        CloudError: the table cannot be reached with this key.
    """
    return rest.missing_columns(USAGE_SCHEMA, USAGE_TABLE, _USAGE_COLUMNS)


@dataclass(frozen=True)
class RemoteUsageTable:
    """Sends usage rows to a project's ``mai.imagen_usage``, which holds one per attempt id."""

    rest: RestClient

    def send(self, item: OutboxItem) -> None:
        row = usage_of(Claim(item.job, item.attempt, owner=""))
        row["created_at"] = item.attempt.finished_at or item.job.created_at
        self.rest.insert(USAGE_SCHEMA, USAGE_TABLE, row, on_conflict="attempt_id", merge=False)

    def read(self, *, since: datetime | None, until: datetime | None) -> Iterator[UsageRow]:
        """The rows of a time span, oldest first, a page in memory at a time.

        A table that is older than some of our columns is read without them.

        Raises:
            CloudError: they cannot be read.
        """
        filters: list[Filter] = []
        if since is not None:
            filters.append(("created_at", "gte", since.isoformat()))
        if until is not None:
            filters.append(("created_at", "lt", until.isoformat()))
        missing = self.rest.missing_columns(USAGE_SCHEMA, USAGE_TABLE, _USAGE_COLUMNS)
        columns = [name for name in _USAGE_COLUMNS if name not in missing]
        pages = self.rest.select_pages(
            USAGE_SCHEMA, USAGE_TABLE, columns, filters, order=("created_at", "id")
        )
        return map(_usage_row, pages)


class UsageInLedger:
    """Accepts usage items where the ledger is the project's database and has the rows already.

    Such items were added while the ledger was configured as a separate database.
    """

    def send(self, item: OutboxItem) -> None:
        """Do nothing: the delivery wrote the row."""


def _usage_row(row: Mapping[str, Any]) -> UsageRow:
    created_at = datetime.fromisoformat(row["created_at"])
    cost, attempt_id = row.get("cost_usd_estimate"), row.get("attempt_id")
    return UsageRow(
        created_at=created_at if created_at.tzinfo else created_at.replace(tzinfo=UTC),
        backend=row.get("backend") or "unknown",
        model=row.get("model"),
        seed=row.get("seed"),
        prompt_hash=row.get("prompt_hash") or "",
        latency_ms=row.get("latency_ms"),
        cost_usd=None if cost is None else Decimal(str(cost)),
        caller=row.get("caller") or "unknown",
        attempt_id=UUID(attempt_id) if attempt_id else None,
    )
