"""Jobs that wait to be claimed or delivered, for workers and the top-up of queues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    ScalarSelect,
    Select,
    and_,
    func,
    null,
    or_,
    select,
    true,
    union_all,
)

from imagen.domain.job import Job, JobState
from imagen.domain.scope import EVERYTHING, Scope
from imagen.ledger.jobs.claimable import (
    PUT_OFF,
    WAITS,
    Choice,
    due_rows,
    is_at,
    models,
    prefixes,
    to_cancel,
    waiting,
)
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.rows import job_from_row
from imagen.ledger.store.tables import jobs
from imagen.ledger.store.types import now, now_plus


def waiting_queues(ledger: Ledger) -> list[str]:
    """The queues that any queued job is in; a few index look-ups, however many jobs there are."""
    found: list[str] = []
    with ledger.read() as connection:
        while True:
            firsts = [
                select(func.min(jobs.c.queue)).where(
                    condition, jobs.c.queue > found[-1] if found else true()
                )
                for condition in (WAITS, PUT_OFF)
            ]
            queues = connection.scalars(union_all(*firsts)).all()
            if not any(queues):
                return found
            found.append(min(filter(None, queues)))


def any_waiting(ledger: Ledger, queue: str, backends: Sequence[str]) -> bool:
    """Whether any job of these backends could be claimed now from a queue."""
    choice = Choice((queue,), backends=tuple(backends))
    ready, put_off = prefixes(choice, WAITS, "waiting"), prefixes(choice, PUT_OFF, "put_off")
    is_due = due_rows(choice, put_off, most=1).exists()
    canceled = to_cancel(choice).subquery()
    either = union_all(
        select(ready.c.backend),
        select(put_off.c.backend).where(is_due),
        select(canceled.c.backend),
    )
    with ledger.read() as connection:
        return connection.execute(either.limit(1)).first() is not None


def count_waiting(ledger: Ledger, queue: str, *, most: int, without: Sequence[str] = ()) -> int:
    """How many jobs of a queue could be claimed now, counted up to ``most``.

    Those of the backends ``without`` are not counted. At most ``most`` of each backend are read.
    """
    choice = Choice((queue,), left_out=tuple(without))
    ready, put_off = prefixes(choice, WAITS, "waiting"), prefixes(choice, PUT_OFF, "put_off")
    ready_rows = select(jobs.c.id).where(WAITS, is_at(ready)).limit(most).correlate(ready)
    counts = union_all(
        select(_count(ready_rows).label("number")).select_from(ready),
        select(_count(due_rows(choice, put_off, most=most)).label("number")).select_from(put_off),
        select(_count(to_cancel(choice)).label("number")),
    ).subquery()
    with ledger.read() as connection:
        number = connection.scalar(select(func.coalesce(func.sum(counts.c.number), 0)))
    return min(int(number or 0), most)


def _count(rows: Select[Any]) -> ScalarSelect[int]:
    return select(func.count()).select_from(rows.subquery()).scalar_subquery()


def waiting_jobs(
    ledger: Ledger, queue: str, *, skip: int, limit: int, without: Sequence[str] = ()
) -> list[Job]:
    """Jobs that could be claimed now, in claiming order, without the first ``skip``.

    Those of the backends ``without`` are left out. Of each backend and model at most
    ``skip + limit`` jobs are read, and none that cannot be claimed.
    """
    choice = Choice((queue,), left_out=tuple(without))
    most = skip + limit
    with ledger.read() as connection:
        each_model = connection.execute(select(models(choice))).all()
        put_off = connection.execute(select(prefixes(choice, PUT_OFF, "put_off"))).all()
        rows = [_of_model(model, most) for model in each_model]
        rows += [_due(prefix, most) for prefix in put_off]
        canceled = to_cancel(choice).subquery()
        rows.append(select(canceled.c.id, canceled.c.lane))
        each = union_all(*(select(some.subquery()) for some in rows)).subquery()
        ordered = select(each.c.id).order_by(each.c.lane, each.c.id).offset(skip).limit(limit)
        chosen = select(jobs).where(jobs.c.id.in_(ordered)).order_by(jobs.c.lane, jobs.c.id)
        return [job_from_row(row) for row in connection.execute(chosen)]


def _of_model(model: Row[Any], most: int) -> Select[Any]:
    is_one = and_(WAITS, _has_prefix(model), jobs.c.affinity == model.affinity)
    return select(jobs.c.id, jobs.c.lane).where(is_one).order_by(jobs.c.id).limit(most)


def _due(prefix: Row[Any], most: int) -> Select[Any]:
    is_due = and_(PUT_OFF, jobs.c.not_before <= now(), _has_prefix(prefix))
    rows = select(jobs.c.id, jobs.c.lane).where(is_due)
    return rows.order_by(jobs.c.not_before, jobs.c.id).limit(most)


def _has_prefix(row: Row[Any]) -> ColumnElement[bool]:
    return and_(jobs.c.queue == row.queue, jobs.c.lane == row.lane, jobs.c.backend == row.backend)


def hosts_to_deliver(ledger: Ledger) -> list[str]:
    """The hosts with a job to deliver that no process delivers now."""
    statement = (
        select(jobs.c.delivery_host)
        .where(
            jobs.c.state == JobState.GENERATED,
            or_(jobs.c.lease_owner.is_(null()), jobs.c.lease_expires_at < now_plus()),
            or_(jobs.c.not_before.is_(null()), jobs.c.not_before <= now_plus()),
        )
        .distinct()
        .order_by(jobs.c.delivery_host)
    )
    with ledger.read() as connection:
        return list(connection.scalars(statement))


def crashed_waiting(
    ledger: Ledger,
    queues: Sequence[str],
    scope: Scope = EVERYTHING,
    *,
    left_out: Sequence[str] = (),
) -> bool:
    """Whether a job of the scope waits that runs alone in its process since it crashed workers.

    Jobs of the backends ``left_out`` do not count.
    """
    crashed = and_(jobs.c.queue.in_(queues), jobs.c.alone_since.is_not(null()), waiting(scope))
    if left_out:
        crashed = and_(crashed, jobs.c.backend.not_in(left_out))
    with ledger.read() as connection:
        return connection.execute(select(jobs.c.id).where(crashed).limit(1)).first() is not None
