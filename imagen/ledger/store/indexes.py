"""What migrations and their tests need beside the tables: partial indexes, and an array column.

Apart from the tables, because an option for one database makes SQLAlchemy import all that it has
for that database: for PostgreSQL a tenth of what a command on SQLite imports in all.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column, Index, MetaData, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

from imagen.ledger.store.outgoing_tables import images, outbox
from imagen.ledger.store.tables import attempts, jobs, metadata


def _add(name: str, *columns: Column[Any], where: str, unique: bool = False) -> None:
    Index(name, *columns, unique=unique, postgresql_where=text(where), sqlite_where=text(where))


# Each serves one frequent statement; see claim.py, delivery.py, leases.py.
# Their conditions are repeated in imagen.ledger.jobs.claimable. Jobs that cannot be claimed are in
# none of them.
_add(
    "ix_jobs_claimable",
    *(jobs.c.queue, jobs.c.lane, jobs.c.backend, jobs.c.affinity, jobs.c.id),
    where="state = 'queued' AND not_before IS NULL",
)
_add(
    "ix_jobs_claimable_host",
    *(jobs.c.queue, jobs.c.lane, jobs.c.backend, jobs.c.delivery_host, jobs.c.affinity, jobs.c.id),
    where="state = 'queued' AND not_before IS NULL",
)
_add(
    "ix_jobs_claimable_batch",
    *(jobs.c.batch_id, jobs.c.queue, jobs.c.lane, jobs.c.backend, jobs.c.affinity, jobs.c.id),
    where="state = 'queued' AND not_before IS NULL AND batch_id IS NOT NULL",
)
_add(
    "ix_jobs_put_off",
    *(jobs.c.queue, jobs.c.lane, jobs.c.backend, jobs.c.not_before),
    where="state = 'queued' AND not_before IS NOT NULL",
)
_add("ix_jobs_to_cancel", jobs.c.id, where="state = 'queued' AND cancel_requested_at IS NOT NULL")
_add("ix_jobs_generated", jobs.c.delivery_host, jobs.c.id, where="state = 'generated'")
_add("ix_jobs_alone", jobs.c.queue, where="state = 'queued' AND alone_since IS NOT NULL")
_add("ix_jobs_leased", jobs.c.lease_owner, where="lease_owner IS NOT NULL")
# A provider's id belongs to one attempt: no job takes another's paid prediction.
_add(
    "uq_attempts_external",
    attempts.c.place,
    attempts.c.external_id,
    where="external_id IS NOT NULL",
    unique=True,
)

_add("ix_outbox_pending", outbox.c.sink, outbox.c.created_at, where="done_at IS NULL")
_add("ix_outbox_leased", outbox.c.lease_owner, where="lease_owner IS NOT NULL")

# imagen never writes it; its default is an empty array, in each database's own spelling.
images.append_column(
    Column("tags", JSON().with_variant(ARRAY(Text()), "postgresql"), nullable=False)
)

#: The whole schema, as migrations make it.
whole_metadata: MetaData = metadata
