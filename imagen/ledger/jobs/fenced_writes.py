"""What the holder of a claim may write: every statement names owner, fence and state.

A worker that lost its lease changes nothing here: ``LeaseLost`` is raised. Owner as well as
fence, because after a database crash an unsynced claim may be rolled back and its fence number
given out again (observed with synchronous_commit=off on PostgreSQL 15).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exc, func, null, update

from imagen.domain.cost import Bill, Cost
from imagen.domain.job import AttemptDisposition, AttemptState, Claim, JobState
from imagen.domain.protocols import AlreadyOwned
from imagen.domain.request import ImageRequest
from imagen.domain.secret_names import hide_secrets
from imagen.errors import LeaseLost
from imagen.ledger.queries.usage_rows import write_usage
from imagen.ledger.store.clauses import NO_LEASE
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import attempts, jobs
from imagen.ledger.store.types import now_plus


def _holds(claim: Claim, state: JobState) -> ColumnElement[bool]:
    """The condition on ``jobs`` that the claim is still the holder's."""
    return and_(
        jobs.c.id == claim.job.id,
        jobs.c.fence == claim.job.fence,
        jobs.c.lease_owner == claim.owner,
        jobs.c.state == state,
    )


def write_held(connection: Connection, claim: Claim, state: JobState, /, **values: Any) -> bool:
    """Write columns of a job that the claim holds in ``state``; says whether it still does."""
    changed = connection.execute(update(jobs).where(_holds(claim, state)).values(**values))
    return changed.rowcount == 1


def write_attempt(connection: Connection, claim: Claim, **values: Any) -> None:
    """Write columns of the claim's attempt."""
    connection.execute(update(attempts).where(attempts.c.id == claim.attempt.id).values(**values))


def _write_running(connection: Connection, claim: Claim, **values: Any) -> None:
    if not write_held(connection, claim, JobState.RUNNING, **values):
        raise LeaseLost(f"job {claim.job.id} is no longer held by this worker")


def _require_running(connection: Connection, claim: Claim) -> None:
    """Lock the job's row, which the claim must still hold."""
    _write_running(connection, claim, started_at=jobs.c.started_at)


def record_intent(ledger: Ledger, claim: Claim) -> None:
    """Commit, synced, that a paid call is about to be sent.

    Raises:
        LeaseLost: another worker holds the job now, or the attempt has an id that this one does
            not know: an earlier holder's call was answered late.
    """
    with ledger.write() as connection:
        _require_running(connection, claim)
        changed = connection.execute(
            update(attempts)
            .where(
                attempts.c.id == claim.attempt.id,
                attempts.c.external_id.is_not_distinct_from(claim.attempt.external_id),
            )
            .values(state=AttemptState.INTENDED.value, intended_at=now_plus())
        )
        if changed.rowcount != 1:
            raise LeaseLost(f"attempt {claim.attempt.id} was taken further by another worker")


def record_submitted(ledger: Ledger, claim: Claim, external_id: str, *, place: str) -> None:
    """Commit, synced, the id that the backend gave.

    Written even without the lease as long as the attempt has none: the next holder needs it.

    Raises:
        AlreadyOwned: another attempt has that id at that place.
        LeaseLost: another worker holds the job now.
    """
    with _owned_once(external_id, place), ledger.write() as connection:
        _write_external_id(connection, claim, external_id, place)
    with ledger.write(durable=False) as connection:
        _require_running(connection, claim)


def record_adopted(ledger: Ledger, claim: Claim, external_id: str, *, place: str) -> None:
    """Commit, synced, the id of a call found at the backend, which any attempt may have made.

    Without the lease nothing is written: the next holder may have searched already, found nothing,
    and begun again.

    Raises:
        AlreadyOwned: another attempt has that id at that place.
        LeaseLost: another worker holds the job now, or its late answer has recorded the id.
    """
    with _owned_once(external_id, place), ledger.write() as connection:
        _require_running(connection, claim)
        _write_external_id(connection, claim, external_id, place)


@contextmanager
def _owned_once(external_id: str, place: str) -> Iterator[None]:
    try:
        yield
    except exc.IntegrityError:
        raise AlreadyOwned(f"{external_id} at {place} belongs to another attempt") from None


def _write_external_id(connection: Connection, claim: Claim, external_id: str, place: str) -> None:
    changed = connection.execute(
        update(attempts)
        .where(
            attempts.c.id == claim.attempt.id,
            attempts.c.finished_at.is_(null()),
            attempts.c.external_id.is_(null()) | (attempts.c.external_id == external_id),
        )
        .values(
            state=AttemptState.SUBMITTED.value,
            external_id=external_id,
            place=place,
            # The first time counts: a prompt that is sent again under its id is the same attempt.
            submitted_at=func.coalesce(attempts.c.submitted_at, now_plus()),
        )
    )
    if changed.rowcount != 1:
        raise LeaseLost(f"attempt {claim.attempt.id} was taken further by another worker")


def _cost_columns(cost: Cost) -> dict[str, Any]:
    return {"cost_usd": cost.usd, "cost_source": cost.source}


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended without an image."""

    code: str
    message: str
    state: AttemptState = AttemptState.FAILED
    cost: Cost | None = None
    #: Options whose values turned out to be secrets: they are not kept.
    secret_options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Paid:
    """What an attempt cost that ends, or waits, without the image that its backend drew.

    ``also_send``: see ``imagen.ledger.queries.usage_rows.record_usage``.
    """

    bill: Bill
    latency_ms: int | None
    is_metered: bool = True
    also_send: bool = False


def record_retry(
    ledger: Ledger,
    claim: Claim,
    ending: Ending,
    *,
    wait_s: float,
    disposition: AttemptDisposition,
    limited: bool = True,
) -> None:
    """Back to ``queued``, not to be claimed for ``wait_s`` seconds.

    ``limited``: unless the attempt ends, the wait counts against the patience of the retry policy.

    Raises:
        LeaseLost: another worker holds the job now.
    """
    with ledger.write() as connection:
        _write_running(
            connection,
            claim,
            state=JobState.QUEUED.value,
            not_before=now_plus(wait_s),
            error_code=ending.code,
            error_message=ending.message,
            **NO_LEASE,
            **({"attempt_id": null()} if disposition is AttemptDisposition.END else {}),
            limited_since=_limited_since(limited and disposition is not AttemptDisposition.END),
        )
        if disposition is AttemptDisposition.END:
            _end_attempt(connection, claim, ending)
        elif disposition is AttemptDisposition.REWIND:
            _rewind_attempt(connection, claim)


def _rewind_attempt(connection: Connection, claim: Claim) -> None:
    """Reset an announced attempt; one with an id at the backend is left as it is."""
    connection.execute(
        update(attempts)
        .where(attempts.c.id == claim.attempt.id, attempts.c.external_id.is_(null()))
        .values(state=AttemptState.STARTED.value, intended_at=null())
    )


def _limited_since(limited: bool) -> ColumnElement[Any]:
    # When it was first put off; cleared when it is drawn or its attempt ends.
    return func.coalesce(jobs.c.limited_since, now_plus()) if limited else null()


def record_failed(
    ledger: Ledger,
    claim: Claim,
    ending: Ending,
    *,
    keep_attempt: bool = False,
    paid: Paid | None = None,
) -> None:
    """The job's end: ``failed``, or ``canceled`` where the ending says so.

    With ``keep_attempt`` the attempt stays open, so that ``imagen jobs retry`` resumes it: the
    backend may have drawn it, but cannot be asked now. With ``paid`` the attempt gets its usage
    row here, as no delivery will write it.

    Raises:
        LeaseLost: another worker holds the job now.
    """
    canceled = ending.state is AttemptState.CANCELED
    with ledger.write() as connection:
        _write_running(
            connection,
            claim,
            state=(JobState.CANCELED if canceled else JobState.FAILED).value,
            error_code=ending.code,
            error_message=ending.message,
            finished_at=now_plus(),
            **NO_LEASE,
            **_without_secrets(claim.job.request, ending.secret_options),
        )
        if not keep_attempt:
            _end_attempt(connection, claim, ending)
        if paid is not None:
            _write_paid(ledger, connection, claim, paid)


def _write_paid(ledger: Ledger, connection: Connection, claim: Claim, paid: Paid) -> None:
    facts = {
        "model": paid.bill.model,
        "seed": paid.bill.seed,
        "steps": paid.bill.steps,
        "latency_ms": paid.latency_ms,
        "is_metered": paid.is_metered,
        **_cost_columns(paid.bill.cost),
    }
    write_attempt(connection, claim, **facts)
    if paid.is_metered:
        used = replace(claim, attempt=replace(claim.attempt, **facts))
        write_usage(ledger, connection, [used], also_send=paid.also_send)


def _without_secrets(request: ImageRequest, names: tuple[str, ...]) -> dict[str, Any]:
    """The column to write where the request holds the values of these options."""
    if not names:
        return {}
    hidden = replace(request, options=hide_secrets(request.options, names=names))
    return {"request": hidden.to_json()}


def _end_attempt(connection: Connection, claim: Claim, ending: Ending) -> None:
    values: dict[str, Any] = {
        "state": ending.state.value,
        "error_code": ending.code,
        "error_message": ending.message,
        "finished_at": now_plus(),
    }
    if ending.cost is not None:
        values |= _cost_columns(ending.cost)
    write_attempt(connection, claim, **values)


def give_back(ledger: Ledger, claim: Claim) -> None:
    """Back to ``queued`` with its attempt as it is, no crash counted: for a worker that stops.

    Raises:
        LeaseLost: another worker holds the job now.
    """
    with ledger.write() as connection:
        _write_running(connection, claim, state=JobState.QUEUED.value, **NO_LEASE)
