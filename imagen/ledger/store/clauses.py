"""Parts of many statements: a scope's condition, one order of locking, INSERT … ON CONFLICT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, FromClause, Table, and_, null, select, true
from sqlalchemy.dialects import sqlite

from imagen.domain.job import AttemptState
from imagen.domain.scope import Scope
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import attempts, jobs

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql


#: The columns of a job, or of a row of the outbox, that no process holds.
NO_LEASE: Mapping[str, Any] = {"lease_owner": null(), "lease_expires_at": null()}


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


def was_sent() -> ColumnElement[bool]:
    """The condition on ``jobs`` that its attempt was announced to a backend, or submitted there."""
    states = [AttemptState.SUBMITTED, AttemptState.INTENDED]
    is_its = and_(attempts.c.id == jobs.c.attempt_id, attempts.c.state.in_(states))
    return select(attempts.c.id).where(is_its).exists()


def in_order(condition: ColumnElement[bool], *others: FromClause) -> ColumnElement[bool]:
    """The same condition on ``jobs``, met by rows that are locked by id first.

    A heartbeat, a drain and a reconciler each change many jobs at once. PostgreSQL locks rows in
    the order in which a plan happens to find them, and gave "deadlock detected" within seconds of
    three processes doing so (observed on PostgreSQL 16).

    ``others`` are the other tables of the condition, such as a list of claims.
    """
    locked = (
        select(jobs.c.id)
        .select_from(jobs, *others)
        .where(condition)
        .order_by(jobs.c.id)
        # As an UPDATE locks: an insert of an attempt or an artifact need not wait.
        .with_for_update(key_share=True, of=jobs)
        .correlate(None)
    )
    return and_(condition, jobs.c.id.in_(locked))


def insert_on(ledger: Ledger, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT into ``table`` with ``on_conflict_…``, which SQLAlchemy has per dialect only."""
    if ledger.kind == "sqlite":
        return sqlite.insert(table)
    # Slow to import: see imagen.ledger.store.types.
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415

    return postgresql.insert(table)
