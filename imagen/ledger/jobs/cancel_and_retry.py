"""Requests of users about jobs: cancel, retry, deliver under another name."""

from __future__ import annotations

from dataclasses import asdict, replace
from uuid import UUID

from sqlalchemy import case, func, null, or_, select, update

from imagen.domain.job import TERMINAL_STATES, JobState, Output, Phase
from imagen.domain.scope import Scope
from imagen.ledger.store.clauses import in_order, scope_clause, was_sent
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.rows import job_from_row
from imagen.ledger.store.tables import artifacts, attempts, jobs
from imagen.ledger.store.types import now_plus


def request_cancel(ledger: Ledger, scope: Scope) -> dict[UUID, JobState]:
    """Mark unfinished jobs; those that are queued or generated end at once.

    The worker of a running one learns of it at its next progress tick or heartbeat. A queued one
    that was sent to a backend before is left to the next claim, which cancels it there. Returns
    the state of each job now.
    """
    ends = or_(
        jobs.c.state == JobState.GENERATED,
        (jobs.c.state == JobState.QUEUED) & ~was_sent(),
    )
    with ledger.write() as connection:
        rows = connection.execute(
            update(jobs)
            .where(in_order(scope_clause(scope) & jobs.c.state.not_in(TERMINAL_STATES)))
            .values(
                cancel_requested_at=func.coalesce(jobs.c.cancel_requested_at, now_plus()),
                state=case((ends, JobState.CANCELED.value), else_=jobs.c.state),
                finished_at=case((ends, now_plus()), else_=null()),
                error_code=case((ends, "canceled"), else_=jobs.c.error_code),
                error_message=case((ends, "canceled on request"), else_=jobs.c.error_message),
                fence=jobs.c.fence + case((ends, 1), else_=0),
                lease_owner=case((ends, null()), else_=jobs.c.lease_owner),
                lease_expires_at=case((ends, null()), else_=jobs.c.lease_expires_at),
                not_before=null(),
            )
            .returning(jobs.c.id, jobs.c.state)
        ).all()
    return {row.id: JobState(row.state) for row in rows}


def retry_jobs(ledger: Ledger, scope: Scope, *, run: int | None = None) -> dict[UUID, JobState]:
    """Queue failed and canceled jobs again, at the step where they ended.

    A job whose delivery failed is delivered from its kept artifact; any other is drawn, resuming
    an attempt that is still open (a paid one that was submitted before its worker crashed).
    Returns the state of each job now.
    """
    has_artifact = select(artifacts.c.key).where(artifacts.c.job_id == jobs.c.id).exists()
    resumes = (jobs.c.phase == Phase.DELIVER) & has_artifact
    still_open = (
        select(attempts.c.id)
        .where(attempts.c.id == jobs.c.attempt_id, attempts.c.finished_at.is_(null()))
        .exists()
    )
    with ledger.write() as connection:
        rows = connection.execute(
            update(jobs)
            .where(
                in_order(
                    scope_clause(scope) & jobs.c.state.in_([JobState.FAILED, JobState.CANCELED])
                )
            )
            .values(
                state=case((resumes, JobState.GENERATED.value), else_=JobState.QUEUED.value),
                phase=case((resumes, Phase.DELIVER.value), else_=Phase.DRAW.value),
                attempt_id=case((resumes | still_open, jobs.c.attempt_id), else_=null()),
                cancel_requested_at=null(),
                crash_count=0,
                crashed_at=null(),
                crash_fence=null(),
                alone_since=null(),
                delivery_count=0,
                tried_before=jobs.c.attempt_count,
                not_before=null(),
                limited_since=null(),
                error_code=null(),
                error_message=null(),
                finished_at=null(),
                fence=jobs.c.fence + 1,
                **({} if run is None else {"run": run}),
            )
            .returning(jobs.c.id, jobs.c.state)
        ).all()
    return {row.id: JobState(row.state) for row in rows}


def redirect_job(ledger: Ledger, job_id: UUID, output: Output, *, image_format: str) -> bool:
    """Set where a failed or canceled job is delivered to when it is retried.

    Returns False where the job is in another state by now.
    """
    ended = (jobs.c.id == job_id) & jobs.c.state.in_([JobState.FAILED, JobState.CANCELED])
    with ledger.write() as connection:
        row = connection.execute(select(jobs).where(ended).with_for_update()).one_or_none()
        if row is None:
            return False
        request = replace(job_from_row(row).request, format=image_format)
        # The path that an earlier delivery had chosen is void.
        values = {"output": asdict(output), "request": request.to_json(), "output_path": None}
        connection.execute(update(jobs).where(ended).values(**values))
    return True
