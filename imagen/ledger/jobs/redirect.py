"""Gives a job that has ended without a file another place for it."""

from __future__ import annotations

from dataclasses import asdict, replace
from uuid import UUID

from sqlalchemy import select, update

from imagen.domain.job import JobState, Output
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.rows import job_from_row
from imagen.ledger.store.tables import jobs


def redirect_job(ledger: Ledger, job_id: UUID, output: Output, *, image_format: str) -> bool:
    """Let a failed or canceled job be delivered to ``output`` when it is retried.

    Says whether it was done: not where the job is in another state by now.
    """
    ended = (jobs.c.id == job_id) & jobs.c.state.in_([JobState.FAILED, JobState.CANCELED])
    with ledger.write() as connection:
        row = connection.execute(select(jobs).where(ended).with_for_update()).one_or_none()
        if row is None:
            return False
        request = replace(job_from_row(row).request, format=image_format)
        # The path that an earlier delivery had chosen counts no more.
        values = {"output": asdict(output), "request": request.to_json(), "output_path": None}
        connection.execute(update(jobs).where(ended).values(**values))
    return True
