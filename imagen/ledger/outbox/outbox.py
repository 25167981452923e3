"""Usage rows and cloud copies that are still to be sent, kept until they arrived."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, func, null, or_, select, true, update
from uuid_utils.compat import uuid7

from imagen.domain.job import Attempt, Claim, Job
from imagen.domain.scope import EVERYTHING, Scope
from imagen.ledger.store.clauses import NO_LEASE, insert_on, scope_clause
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.outgoing_tables import outbox
from imagen.ledger.store.rows import attempt_from_row, job_from_row, select_attempts
from imagen.ledger.store.tables import attempts, jobs
from imagen.ledger.store.types import now_plus

#: How long a process may take for one item before another process tries it.
LEASE_S = 120.0


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """Something to send, held by one process at a time."""

    id: UUID
    sink: str
    tries: int
    job: Job
    attempt: Attempt
    created_at: datetime

    @property
    def sort_key(self) -> tuple[datetime, UUID]:
        """Its position in the outbox, oldest first."""
        return self.created_at, self.id


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
    scope: Scope = EVERYTHING,
    now: bool = False,
    after: tuple[datetime, UUID] | None = None,
) -> list[OutboxItem]:
    """Due items of the scope's jobs, now held by ``owner``, oldest first.

    ``now`` takes those too whose time has not come yet; ``after`` only those with a greater
    ``sort_key``.
    """
    due = [outbox.c.done_at.is_(null()), _is_free(), belongs(scope)]
    if not now:
        due.append(_is_due())
    if after is not None:
        created_at, item_id = after
        same_time = and_(outbox.c.created_at == created_at, outbox.c.id > item_id)
        due.append(or_(outbox.c.created_at > created_at, same_time))
    with ledger.write(durable=False) as connection:
        chosen = (
            select(outbox.c.id)
            .where(*due)
            .order_by(outbox.c.created_at, outbox.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("chosen")
        )
        taken = connection.execute(
            update(outbox)
            .where(outbox.c.id.in_(select(chosen.c.id)))
            .values(lease_owner=owner, lease_expires_at=now_plus(LEASE_S))
            .returning(outbox)
        ).all()
        if not taken:
            return []
        attempt_ids = [row.attempt_id for row in taken]
        found = connection.execute(select_attempts().where(attempts.c.id.in_(attempt_ids)))
        by_attempt = {row.id: attempt_from_row(row) for row in found}
        job_ids = [attempt.job_id for attempt in by_attempt.values()]
        rows = connection.execute(select(jobs).where(jobs.c.id.in_(job_ids)))
        by_job = {row.id: job_from_row(row) for row in rows}
    items = [
        OutboxItem(
            row.id,
            row.sink,
            row.tries,
            by_job[by_attempt[row.attempt_id].job_id],
            by_attempt[row.attempt_id],
            row.created_at,
        )
        for row in taken
    ]
    return sorted(items, key=lambda item: item.sort_key)


def record_sent(ledger: Ledger, item: OutboxItem) -> None:
    """It arrived; also recorded where another process holds it by now."""
    with ledger.write() as connection:
        connection.execute(
            update(outbox)
            .where(outbox.c.id == item.id)
            .values(
                done_at=now_plus(),
                tries=outbox.c.tries + 1,
                last_error=null(),
                **NO_LEASE,
            )
        )


def put_off(ledger: Ledger, item: OutboxItem, owner: str, *, wait_s: float, reason: str) -> None:
    """It did not arrive, for ``reason``; it is not tried again for ``wait_s`` seconds."""
    with ledger.write() as connection:
        connection.execute(
            update(outbox)
            .where(outbox.c.id == item.id, outbox.c.lease_owner == owner)
            .values(
                not_before=now_plus(wait_s),
                tries=outbox.c.tries + 1,
                last_error=reason,
                **NO_LEASE,
            )
        )


def give_back_items(ledger: Ledger, items: Sequence[OutboxItem], owner: str) -> None:
    """Let others try at once what ``owner`` took and will not come to."""
    _give_back(ledger, outbox.c.id.in_([item.id for item in items]), [owner])


def give_back_outgoing(ledger: Ledger, owners: Collection[str], *, why: str = "") -> None:
    """Let others try at once all that these processes hold: they are gone, or about to be.

    ``why`` is kept as the reason of what has no other yet.
    """
    _give_back(ledger, true(), owners, why=why)


def _give_back(
    ledger: Ledger, which: ColumnElement[bool], owners: Collection[str], *, why: str = ""
) -> None:
    if not owners:
        return
    with ledger.write(durable=False) as connection:
        connection.execute(
            update(outbox)
            .where(outbox.c.done_at.is_(null()), outbox.c.lease_owner.in_(owners), which)
            .values(
                **NO_LEASE,
                last_error=func.coalesce(outbox.c.last_error, why or null()),
            )
        )


def outgoing_owners(ledger: Ledger) -> set[str]:
    """Who holds something in the outbox."""
    statement = select(outbox.c.lease_owner).where(
        outbox.c.done_at.is_(null()), outbox.c.lease_owner.is_not(null())
    )
    with ledger.read() as connection:
        return set(connection.scalars(statement.distinct()))


def held_elsewhere(ledger: Ledger, owner: str) -> frozenset[tuple[UUID, str, int]]:
    """What processes other than ``owner`` are sending now: each item, its holder, its tries."""
    statement = select(outbox.c.id, outbox.c.lease_owner, outbox.c.tries).where(
        outbox.c.done_at.is_(null()),
        outbox.c.lease_owner != owner,
        outbox.c.lease_expires_at > now_plus(),
    )
    with ledger.read() as connection:
        rows = connection.execute(statement).all()
    return frozenset((row.id, row.lease_owner, row.tries) for row in rows)


def count_pending(ledger: Ledger) -> dict[str, int]:
    """How much has not arrived yet, by sink."""
    statement = (
        select(outbox.c.sink, func.count().label("number"))
        .where(outbox.c.done_at.is_(null()))
        .group_by(outbox.c.sink)
    )
    with ledger.read() as connection:
        return {row.sink: row.number for row in connection.execute(statement)}


def count_untried(ledger: Ledger, scope: Scope) -> int:
    """How many of the scope's items wait for the end of their first try."""
    statement = select(func.count()).where(
        outbox.c.done_at.is_(null()), outbox.c.tries == 0, belongs(scope)
    )
    with ledger.read() as connection:
        return connection.scalar(statement) or 0


def hosts_to_send(ledger: Ledger) -> list[str]:
    """The hosts of jobs with a due item in the outbox that no process holds."""
    statement = (
        select(jobs.c.delivery_host)
        .select_from(outbox.join(jobs, jobs.c.id == outbox.c.job_id))
        .where(outbox.c.done_at.is_(null()), _is_free(), _is_due())
        .distinct()
        .order_by(jobs.c.delivery_host)
    )
    with ledger.read() as connection:
        return list(connection.scalars(statement))


def _is_free() -> ColumnElement[bool]:
    return or_(outbox.c.lease_owner.is_(null()), outbox.c.lease_expires_at < now_plus())


def _is_due() -> ColumnElement[bool]:
    return or_(outbox.c.not_before.is_(null()), outbox.c.not_before <= now_plus())


def belongs(scope: Scope) -> ColumnElement[bool]:
    """The condition on ``outbox`` that an item is of one of the scope's jobs."""
    if scope == EVERYTHING:
        return true()
    return outbox.c.job_id.in_(select(jobs.c.id).where(scope_clause(scope)))
