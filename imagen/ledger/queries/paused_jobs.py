"""How many jobs wait for backends that are paused."""

from __future__ import annotations

from sqlalchemy import func, select

from imagen.domain.job import JobState
from imagen.ledger.jobs.control import paused_backends
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import jobs


def count_paused(ledger: Ledger) -> dict[str, tuple[str, int]]:
    """The reason, and the number of queued jobs, of each paused backend that has some."""
    paused = paused_backends(ledger)
    if not paused:
        return {}
    statement = (
        select(jobs.c.backend, func.count())
        .where(jobs.c.state == JobState.QUEUED, jobs.c.backend.in_(paused))
        .group_by(jobs.c.backend)
        .order_by(jobs.c.backend)
    )
    with ledger.read() as connection:
        return {row[0]: (paused[row[0]], row[1]) for row in connection.execute(statement)}
