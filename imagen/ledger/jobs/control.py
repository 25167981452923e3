"""What people tell jobs and backends: cancel, retry, pause."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import and_, case, delete, func, null, or_, select, update

from imagen.domain.job import TERMINAL_STATES, AttemptState, JobState, Phase
from imagen.domain.scope import Scope
from imagen.errors import CredentialError, OutOfCredit, RateLimited
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.lock_order import in_order
from imagen.ledger.store.scope_clause import scope_clause
from imagen.ledger.store.tables import artifacts, attempts, jobs, pauses
from imagen.ledger.store.types import now_plus
from imagen.ledger.store.upsert import insert_on


def request_cancel(ledger: Ledger, scope: Scope) -> dict[UUID, JobState]:
    """Mark unfinished jobs; those that are queued or generated end at once.

    A running one is told at its next progress tick or heartbeat. A queued one that was sent to a
    backend before is left to the next claim, which stops it there. Says what each job is now.
    """
    sent = (
        select(attempts.c.id)
        .where(
            attempts.c.id == jobs.c.attempt_id,
            attempts.c.state.in_([AttemptState.SUBMITTED, AttemptState.INTENDED]),
        )
        .exists()
    )
    ends = or_(
        jobs.c.state == JobState.GENERATED,
        (jobs.c.state == JobState.QUEUED) & ~sent,
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
    """Put failed and canceled jobs back on their way, where they stopped.

    A job whose delivery failed goes on with its kept artifact; any other is drawn, resuming an
    attempt that is still open (a paid one that was submitted before its worker crashed).
    Says what each job is now.
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


def pause_backend(
    ledger: Ledger, backend: str, *, reason: str, pause_s: float | None, code: str | None = None
) -> None:
    """Stop claiming jobs of a backend for ``pause_s`` seconds, or until ``resume_backend``.

    ``code`` is that of the error which made it necessary.
    """
    until = null() if pause_s is None else now_plus(pause_s)
    with ledger.write() as connection:
        statement = insert_on(ledger, pauses).values(
            backend=backend, until=until, reason=reason, code=code, created_at=now_plus()
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["backend"],
                set_={"until": until, "reason": reason, "code": code, "created_at": now_plus()},
            )
        )


def resume_backends(ledger: Ledger, backend: str, *, account: Sequence[str] = ()) -> list[str]:
    """Lift the pause of a backend, and with it the waits that its jobs were given.

    The same for the others of its ``account`` as far as an error paused them, not a person.
    Returns the backends that were paused, in alphabetical order.
    """
    by_error = and_(pauses.c.backend.in_(account), pauses.c.code.is_not(null()))
    with ledger.write() as connection:
        lifted = connection.scalars(
            delete(pauses)
            .where(or_(pauses.c.backend == backend, by_error))
            .returning(pauses.c.backend)
        ).all()
        put_off = and_(
            jobs.c.backend.in_([backend, *lifted]),
            jobs.c.state == JobState.QUEUED,
            jobs.c.error_code.in_(_PAUSING),
        )
        connection.execute(update(jobs).where(in_order(put_off)).values(not_before=null()))
    return sorted(lifted)


#: The errors that pause backends.
_PAUSING = (OutOfCredit.code, CredentialError.code, RateLimited.code)


def paused_backends(ledger: Ledger) -> dict[str, str]:
    """Every paused backend with the reason."""
    return {name: reason for name, (_, reason) in pauses_with_codes(ledger).items()}


def pauses_with_codes(ledger: Ledger) -> dict[str, tuple[str | None, str]]:
    """Every paused backend with the code of the error that paused it, and the reason."""
    statement = select(pauses.c.backend, pauses.c.code, pauses.c.reason).where(
        or_(pauses.c.until.is_(null()), pauses.c.until > now_plus())
    )
    with ledger.read() as connection:
        return {row.backend: (row.code, row.reason) for row in connection.execute(statement)}
