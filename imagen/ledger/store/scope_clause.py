"""A ``Scope`` as a condition on the table of jobs."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import ColumnElement, and_, true

from imagen.domain.scope import Scope
from imagen.ledger.store.tables import jobs


def scope_clause(scope: Scope) -> ColumnElement[bool]:
    """The condition that is true for the rows of ``jobs`` that the scope contains."""
    if scope.without_hosts:
        others = jobs.c.delivery_host.not_in(scope.without_hosts)
        return and_(others, scope_clause(replace(scope, without_hosts=())))
    if scope.delivery_host is not None:
        here = jobs.c.delivery_host == scope.delivery_host
        return and_(here, scope_clause(replace(scope, delivery_host=None)))
    if scope.job_ids is not None:
        return jobs.c.id.in_(scope.job_ids)
    if scope.batch_id is not None:
        return and_(jobs.c.batch_id == scope.batch_id, jobs.c.run >= scope.run)
    return true()
