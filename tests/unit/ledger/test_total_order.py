"""Every list has a total order: no two runs of a query show the same rows differently.

Each statement that a test of ``ledger`` sends to a database is looked at (tests/unit/conftest.py);
here is what it is looked at for, and the lists that once had ties.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, insert, select

from imagen.domain.job import AttemptState
from imagen.domain.scope import EVERYTHING
from imagen.ledger.jobs.artifacts import load_artifacts, obsolete_keys
from imagen.ledger.jobs.submit import open_batch
from imagen.ledger.jobs.worker_rows import live_workers
from imagen.ledger.outbox.backlog import backlog, put_kept_usage_in_outbox, read_unsent_usage
from imagen.ledger.outbox.outbox import claim_outgoing, hosts_to_send
from imagen.ledger.queries.batches import batch_names, find_batch
from imagen.ledger.queries.history import AttemptHistory
from imagen.ledger.queries.jobs import Filter, attempts_of, list_jobs
from imagen.ledger.queries.unfinished_jobs import queues_of
from imagen.ledger.queries.usage_rows import read_usage
from imagen.ledger.queries.usage_sums import sum_usage
from imagen.ledger.queries.waiting_jobs import hosts_to_deliver, waiting_jobs
from imagen.ledger.store.outgoing_tables import imagen_usage, outbox
from imagen.ledger.store.tables import attempts, jobs
from tests.total_order import queries_with_ties

NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "statement",
    [
        select(imagen_usage).order_by(imagen_usage.c.created_at),
        select(attempts).order_by(attempts.c.number),
        select(jobs.c.queue, jobs.c.lane, func.count())
        .group_by(jobs.c.queue, jobs.c.lane)
        .order_by(jobs.c.queue),
        select(jobs.c.id).limit(20),
        select(jobs.c.id).where(
            jobs.c.id.in_(select(outbox.c.job_id).order_by(outbox.c.created_at).limit(3))
        ),
    ],
    ids=["a time alone", "a number within a job", "half of a group", "cut off", "inside another"],
)
def test_an_order_with_ties_is_found(statement: Any) -> None:
    assert len(queries_with_ties(statement)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        select(imagen_usage).order_by(imagen_usage.c.created_at.desc(), imagen_usage.c.id.desc()),
        select(attempts).where(attempts.c.job_id == uuid4()).order_by(attempts.c.number),
        select(jobs.c.queue, func.count()).group_by(jobs.c.queue).order_by(jobs.c.queue),
        select(jobs.c.delivery_host).distinct().order_by(jobs.c.delivery_host),
        select(jobs.c.id).limit(1),
    ],
    ids=["time and id", "unique within a job", "a whole group", "distinct", "one of them"],
)
def test_a_total_order_is_not_complained_about(statement: Any) -> None:
    assert queries_with_ties(statement) == []


def test_lists_of_rows_of_one_moment_come_in_the_order_of_their_ids(desk: Any) -> None:
    job_id = desk.submit()
    for number in range(1, 41):
        _add_attempt(desk, job_id, number)

    usage = list(read_usage(desk.ledger, since=None, until=None))
    unsent = list(read_unsent_usage(desk.ledger, since=None, until=None))

    written = [UUID(int=number) for number in range(1, 41)]
    assert [row.attempt_id for row in usage] == written
    assert [row.attempt_id for row in unsent] == written


def test_no_list_of_the_ledger_has_an_order_with_ties(desk: Any) -> None:
    """Each is asked once; the ledger of a test refuses a query whose order has ties."""
    batch = open_batch(desk.ledger, "prompts", name="prompts")
    job_id = desk.submit(batch_id=batch.id, run=1, dedupe_key="one")
    ledger = desk.ledger

    list_jobs(ledger, Filter())
    attempts_of(ledger, job_id)
    queues_of(ledger, EVERYTHING)
    waiting_jobs(ledger, "gpu", skip=0, limit=5)
    hosts_to_deliver(ledger)
    hosts_to_send(ledger)
    backlog(ledger)
    put_kept_usage_in_outbox(ledger)
    claim_outgoing(ledger, "one", limit=5)
    list(read_usage(ledger, since=None, until=None))
    list(read_unsent_usage(ledger, since=None, until=None))
    live_workers(ledger, within_s=60)
    load_artifacts(ledger, [job_id])
    obsolete_keys(ledger)
    find_batch(ledger, "prompts")
    batch_names(ledger)
    AttemptHistory(ledger).expected_s("mock")
    sum_usage(ledger, by=["week", "model"])

    with pytest.raises(AssertionError, match="ties"), ledger.read() as connection:
        connection.execute(select(jobs).order_by(jobs.c.created_at))


def _add_attempt(desk: Any, job_id: UUID, number: int) -> None:
    """One with a usage row; all of the same moment, the last id written first."""
    attempt_id = UUID(int=number)
    with desk.ledger.write() as connection:
        connection.execute(
            insert(attempts).values(
                id=attempt_id,
                job_id=job_id,
                number=number,
                backend="flux",
                worker="one",
                state=AttemptState.DRAWN.value,
                created_at=NOON,
            )
        )
        connection.execute(
            insert(imagen_usage).values(
                created_at=NOON,
                backend="flux",
                prompt_hash="h",
                caller="kim",
                attempt_id=attempt_id,
            )
        )
