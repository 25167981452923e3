"""What the ledger says about the jobs of a benchmark."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select

from imagen.domain.job import JobState
from imagen.ledger.queries.jobs import get_job
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import jobs


def count_jobs(ledger: Ledger) -> int:
    """How many jobs were ever accepted."""
    with ledger.read() as connection:
        return connection.scalar(select(func.count()).select_from(jobs)) or 0


def count_unfinished(ledger: Ledger) -> int:
    """How many are not through yet.

    Raises:
        RuntimeError: one failed, so the figure would be that of another race.
    """
    with ledger.read() as connection:
        found = connection.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state)).all()
    counts = {JobState(state): number for state, number in found}
    if counts.get(JobState.FAILED) or counts.get(JobState.CANCELED):
        raise RuntimeError(f"jobs failed: {counts}")
    return sum(number for state, number in counts.items() if not state.is_terminal)


def busy_seconds(ledger: Ledger) -> float:
    """From the first claim to the last success, by the database's clock."""
    with ledger.read() as connection:
        began, ended = connection.execute(
            select(func.min(jobs.c.started_at), func.max(jobs.c.finished_at))
        ).one()
    return float((ended - began).total_seconds())


def is_done(ledger: Ledger, job_id: UUID) -> bool:
    """Whether the job succeeded."""
    job = get_job(ledger, job_id)
    return job is not None and job.state is JobState.SUCCEEDED


def waited_s(ledger: Ledger, job_id: UUID) -> float:
    """From the job's acceptance to its first claim, by the database's clock."""
    job = get_job(ledger, job_id)
    assert job is not None
    assert job.started_at is not None
    return (job.started_at - job.created_at).total_seconds()
