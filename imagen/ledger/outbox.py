"""What still has to leave this ledger: usage rows and cloud copies, kept until they arrived."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, func, null, or_, select, update
from uuid_utils.compat import uuid7

from imagen.domain.job import Attempt, Claim, Job
from imagen.ledger.engine import Ledger
from imagen.ledger.rows import attempt_from_row, job_from_row
from imagen.ledger.sinks import outbox
from imagen.ledger.tables import attempts, jobs
from imagen.ledger.types import now_plus, seconds_since
from imagen.ledger.upsert import insert_on

#: How long somebody may be at one parcel before another process tries it.
LEASE_S = 120.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Something to send, held by one process at a time."""

    id: UUID
    sink: str
    tries: int
    job: Job
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Pending:
    """What has not arrived yet of a job, or of all jobs: for people."""

    sink: str
    job_id: UUID
    tries: int
    last_error: str | None


def put_in_outbox(
    ledger: Ledger, connection: Connection, claims: Sequence[Claim], *, sink: str
) -> None:
    """Add what these claims have to send, in an open transaction; what is there stays."""
    if not claims:
        return
    statement = insert_on(ledger, outbox).values(created_at=now_plus(), sink=sink)
    connection.execute(
        statement.on_conflict_do_nothing(index_elements=["attempt_id", "sink"]),
        [
            {"id": uuid7(), "job_id": claim.job.id, "attempt_id": claim.attempt.id}
            for claim in claims
        ],
    )


def claim_outgoing(
    ledger: Ledger,
    owner: str,
    *,
    limit: int,
    job_id: UUID | None = None,
    now: bool = False,
    but: Collection[UUID] = (),
) -> list[Outgoing]:
    """Due parcels, now held by ``owner``, oldest first, without those in ``but``.

    ``now`` takes those too whose time has not come yet.
    """
    due: list[ColumnElement[bool]] = [outbox.c.done_at.is_(null())]
    due.append(or_(outbox.c.lease_owner.is_(null()), outbox.c.lease_expires_at < now_plus()))
    if not now:
        due.append(or_(outbox.c.not_before.is_(null()), outbox.c.not_before <= now_plus()))
    if job_id is not None:
        due.append(outbox.c.job_id == job_id)
    if but:
        due.append(outbox.c.id.not_in(but))
    with ledger.write(durable=False) as connection:
        chosen = (
            select(outbox.c.id)
            .where(and_(*due))
            .order_by(outbox.c.created_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("chosen")
        )
        taken = connection.execute(
            update(outbox)
            .where(outbox.c.id.in_(select(chosen.c.id)))
            .values(lease_owner=owner, lease_expires_at=now_plus(LEASE_S))
            .returning(outbox.c.id, outbox.c.sink, outbox.c.tries, outbox.c.attempt_id)
        ).all()
        if not taken:
            return []
        attempt_ids = [row.attempt_id for row in taken]
        age = seconds_since(attempts.c.intended_at).label("intent_age_s")
        found = connection.execute(select(attempts, age).where(attempts.c.id.in_(attempt_ids)))
        by_attempt = {row.id: attempt_from_row(row) for row in found}
        job_ids = [attempt.job_id for attempt in by_attempt.values()]
        rows = connection.execute(select(jobs).where(jobs.c.id.in_(job_ids)))
        by_job = {row.id: job_from_row(row) for row in rows}
    return [
        Outgoing(
            row.id,
            row.sink,
            row.tries,
            by_job[by_attempt[row.attempt_id].job_id],
            by_attempt[row.attempt_id],
        )
        for row in taken
    ]


def record_sent(ledger: Ledger, outgoing: Outgoing) -> None:
    """It arrived. Written whoever holds it now: an arrival is an arrival."""
    with ledger.write() as connection:
        connection.execute(
            update(outbox)
            .where(outbox.c.id == outgoing.id)
            .values(
                done_at=now_plus(),
                tries=outbox.c.tries + 1,
                last_error=null(),
                lease_owner=null(),
                lease_expires_at=null(),
            )
        )


def put_off(ledger: Ledger, outgoing: Outgoing, owner: str, *, wait_s: float, reason: str) -> None:
    """It did not arrive, for ``reason``; nobody tries again for ``wait_s`` seconds."""
    with ledger.write() as connection:
        connection.execute(
            update(outbox)
            .where(outbox.c.id == outgoing.id, outbox.c.lease_owner == owner)
            .values(
                not_before=now_plus(wait_s),
                tries=outbox.c.tries + 1,
                last_error=reason,
                lease_owner=null(),
                lease_expires_at=null(),
            )
        )


def pending(ledger: Ledger, *, job_id: UUID | None = None, limit: int = 50) -> list[Pending]:
    """What has not arrived yet, oldest first."""
    statement = select(outbox.c.sink, outbox.c.job_id, outbox.c.tries, outbox.c.last_error).where(
        outbox.c.done_at.is_(null())
    )
    if job_id is not None:
        statement = statement.where(outbox.c.job_id == job_id)
    with ledger.read() as connection:
        rows = connection.execute(statement.order_by(outbox.c.created_at).limit(limit)).all()
    return [Pending(row.sink, row.job_id, row.tries, row.last_error) for row in rows]


def count_pending(ledger: Ledger) -> dict[str, int]:
    """How much has not arrived yet, by sink."""
    statement = (
        select(outbox.c.sink, func.count().label("number"))
        .where(outbox.c.done_at.is_(null()))
        .group_by(outbox.c.sink)
    )
    with ledger.read() as connection:
        return {row.sink: row.number for row in connection.execute(statement)}


def hosts_to_send(ledger: Ledger) -> list[str]:
    """The hosts whose images have something due in the outbox which nobody is at."""
    statement = (
        select(jobs.c.delivery_host)
        .select_from(outbox.join(jobs, jobs.c.id == outbox.c.job_id))
        .where(
            outbox.c.done_at.is_(null()),
            or_(outbox.c.lease_owner.is_(null()), outbox.c.lease_expires_at < now_plus()),
            or_(outbox.c.not_before.is_(null()), outbox.c.not_before <= now_plus()),
        )
        .distinct()
    )
    with ledger.read() as connection:
        return list(connection.scalars(statement))
