"""Locks rows in one order everywhere, so that no two statements wait for each other for ever.

A heartbeat, a drain and a reconciler each change many jobs at once. PostgreSQL locks rows in the
order in which a plan happens to find them, and gave "deadlock detected" within seconds of three
processes doing so (observed on PostgreSQL 16).
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, FromClause, and_, select

from imagen.ledger.store.tables import jobs


def in_order(condition: ColumnElement[bool], *others: FromClause) -> ColumnElement[bool]:
    """The same condition on ``jobs``, met by rows that are locked by id first.

    ``others`` are what else the condition speaks of, such as a list of claims.
    """
    locked = (
        select(jobs.c.id)
        .select_from(jobs, *others)
        .where(condition)
        .order_by(jobs.c.id)
        # As an UPDATE locks: whoever adds an attempt or an artifact need not wait.
        .with_for_update(key_share=True, of=jobs)
        .correlate(None)
    )
    return and_(condition, jobs.c.id.in_(locked))
