"""Submits jobs and batches to the ledger: after the commit a job is accepted and never lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, and_, insert, select, update
from uuid_utils.compat import uuid7

from imagen.domain.job import TERMINAL_STATES, JobDraft, JobState
from imagen.ledger.store.clauses import in_order, insert_on
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.rows import values_of_draft
from imagen.ledger.store.tables import batches, jobs
from imagen.ledger.store.types import now_plus


def submit_job(ledger: Ledger, draft: JobDraft) -> None:
    """Commit one job, synced: when this returns, it is accepted."""
    with ledger.write() as connection:
        connection.execute(insert(jobs).values(created_at=now_plus(), **values_of_draft(draft)))


@dataclass(frozen=True, slots=True)
class OpenedBatch:
    id: UUID
    #: The number of this run of it, from 1.
    run: int


def open_batch(ledger: Ledger, key: str, *, name: str) -> OpenedBatch:
    """The batch called ``key``, made when it is new, with the number of the run that begins."""
    with ledger.write() as connection:
        new = insert_on(ledger, batches).values(
            id=uuid7(), key=key, name=name, runs=0, created_at=now_plus()
        )
        connection.execute(new.on_conflict_do_nothing(index_elements=["key"]))
        row = connection.execute(
            update(batches)
            .where(batches.c.key == key)
            .values(runs=batches.c.runs + 1)
            .returning(batches.c.id, batches.c.runs)
        ).one()
    return OpenedBatch(row.id, row.runs)


@dataclass(frozen=True, slots=True)
class KnownRow:
    """A row of a batch that an earlier run has put into the ledger, and its state now."""

    id: UUID
    state: JobState


def known_rows(ledger: Ledger, dedupe_keys: Sequence[str], *, run: int) -> dict[str, KnownRow]:
    """Those rows that the ledger holds already, by dedupe key; a thousand keys are a good size.

    Rows that are not finished are stamped with ``run``: they are part of this run too.
    """
    with ledger.read() as connection:
        found = connection.execute(
            select(jobs.c.dedupe_key, jobs.c.id, jobs.c.state).where(
                jobs.c.dedupe_key.in_(dedupe_keys)
            )
        ).all()
    if any(row.state not in TERMINAL_STATES for row in found):
        with ledger.write() as connection:
            _stamp(connection, dedupe_keys, run)
    return {row.dedupe_key: KnownRow(row.id, JobState(row.state)) for row in found}


def submit_rows(ledger: Ledger, drafts: Sequence[JobDraft], *, run: int) -> None:
    """Commit drafts, each with a ``dedupe_key``, synced and in one transaction.

    A row that another run of the same batch has added in the meantime is shared with that run.
    """
    with ledger.write() as connection:
        statement = insert_on(ledger, jobs).values(created_at=now_plus())
        connection.execute(
            statement.on_conflict_do_nothing(index_elements=["dedupe_key"]),
            [values_of_draft(draft) for draft in drafts],
        )
        _stamp(connection, [draft.dedupe_key for draft in drafts], run)


def _stamp(connection: Connection, dedupe_keys: Sequence[str | None], run: int) -> None:
    connection.execute(
        update(jobs)
        .where(
            in_order(
                and_(
                    jobs.c.dedupe_key.in_(dedupe_keys),
                    jobs.c.run < run,
                    jobs.c.state.not_in(TERMINAL_STATES),
                )
            )
        )
        .values(run=run)
    )
