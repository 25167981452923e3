"""Leases: renewed by their holder, and taken back from dead workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, case, null, or_, select, update

from imagen.domain.job import JobState
from imagen.ledger.jobs.crashes import crash_values, note_deaths, recent_deaths
from imagen.ledger.jobs.delivery_statements import ALONE_AFTER
from imagen.ledger.store.clauses import NO_LEASE, in_order, was_sent
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import jobs
from imagen.ledger.store.types import now_plus

#: Seconds that a delivery waits after the death of its worker.
ALONE_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Renewed:
    """A job whose lease was renewed, as it stands now."""

    fence: int
    cancel_requested: bool


def renew_leases(ledger: Ledger, owner: str, *, lease_s: float) -> dict[UUID, Renewed]:
    """Renew every lease of ``owner`` in one statement; a lease that is not in the answer is lost.

    An expired lease is renewed too, as long as it was not taken back.
    """
    with ledger.write(durable=False) as connection:
        rows = connection.execute(
            update(jobs)
            .where(in_order(jobs.c.lease_owner == owner))
            .values(lease_expires_at=now_plus(lease_s))
            .returning(jobs.c.id, jobs.c.fence, jobs.c.cancel_requested_at)
        ).all()
    return {row.id: Renewed(row.fence, row.cancel_requested_at is not None) for row in rows}


def lease_owners(ledger: Ledger) -> set[str]:
    """The owners of leases, alive or not."""
    with ledger.read() as connection:
        return set(
            connection.scalars(
                select(jobs.c.lease_owner).where(jobs.c.lease_owner.is_not(null())).distinct()
            )
        )


def take_back(
    ledger: Ledger,
    *,
    max_crashes: int,
    dead: Iterable[str] = (),
    alive: Iterable[str] = (),
    only_dead: bool = False,
) -> int:
    """Return expired running jobs to ``queued``, and those of owners known to be dead.

    Each counts a crash, and in the end fails with ``worker_crashed`` (see ``crashes``), but not
    where the owner is known to be ``alive``, but stopped. Expired deliveries are freed
    without counting: a paid image is never failed for a crash. The attempt stays open, so the next
    claim resumes it. ``only_dead`` leaves the expired leases of others as they are. Returns the
    number of jobs taken back.
    """
    overdue: ColumnElement[bool] = jobs.c.lease_owner.in_(list(dead))
    if not only_dead:
        overdue = or_(overdue, jobs.c.lease_expires_at < now_plus())
    overdue = and_(jobs.c.lease_owner.is_not(null()), overdue)
    with ledger.write() as connection:
        running = and_(jobs.c.state == JobState.RUNNING, overdue)
        stopped = jobs.c.lease_owner.in_(list(alive))
        taken = _free(
            connection,
            and_(running, stopped),
            {"state": JobState.QUEUED.value, "not_before": null()},
        )
        taken += _take_back_crashed(ledger, connection, and_(running, ~stopped), max_crashes)
        is_alone = jobs.c.delivery_count >= ALONE_AFTER
        taken += _free(
            connection,
            and_(jobs.c.state == JobState.GENERATED, overdue),
            {"not_before": case((is_alone, now_plus(ALONE_WAIT_S)), else_=null())},
        )
    return taken


def _take_back_crashed(
    ledger: Ledger, connection: Connection, crashed: ColumnElement[bool], max_crashes: int
) -> int:
    deaths = recent_deaths(connection)
    note_deaths(ledger, connection, crashed)
    values = crash_values(max_crashes=max_crashes, deaths=deaths)
    return _free(connection, crashed, {**values, "not_before": null()})


def _free(connection: Connection, those: ColumnElement[bool], values: Mapping[str, Any]) -> int:
    """Remove the leases of these jobs; returns their number."""
    rows = connection.execute(
        update(jobs)
        .where(in_order(those))
        .values(fence=jobs.c.fence + 1, **NO_LEASE, **values)
        .returning(jobs.c.id)
    ).all()
    return len(rows)


def end_canceled(ledger: Ledger) -> int:
    """End queued jobs that were canceled and have been sent to no backend; returns their number."""
    is_canceled = and_(jobs.c.state == JobState.QUEUED, jobs.c.cancel_requested_at.is_not(null()))
    with ledger.write_one() as connection:
        changed = connection.execute(
            update(jobs)
            .where(in_order(and_(is_canceled, ~was_sent())))
            .values(
                state=JobState.CANCELED.value,
                finished_at=now_plus(),
                error_code="canceled",
                error_message="canceled before it was drawn",
            )
        )
    return changed.rowcount
