"""The SQL of deliveries, built once: a drain of any size is the same statements.

The number of rows of a drain differs each time, and SQLAlchemy compiles a statement for every
number; so they are one JSON parameter, which the database takes apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Float,
    Integer,
    Text,
    Update,
    Uuid,
    and_,
    bindparam,
    cast,
    column,
    func,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.sql.selectable import Select

from imagen.domain.job import Claim, JobState
from imagen.domain.scope import Scope
from imagen.ledger.store.clauses import NO_LEASE, in_order, scope_clause
from imagen.ledger.store.engine import Kind
from imagen.ledger.store.tables import jobs
from imagen.ledger.store.types import JsonDocument, now_plus, seconds_since

#: A delivery that was begun so often without an end is done alone: it may kill its worker.
ALONE_AFTER = 10


def _due(scope: Scope, *, alone: bool) -> ColumnElement[bool]:
    """Generated jobs of ``b_host`` that no process delivers now."""
    count = jobs.c.delivery_count
    return and_(
        jobs.c.state == JobState.GENERATED,
        jobs.c.delivery_host == bindparam("b_host", type_=Text),
        or_(jobs.c.lease_owner.is_(null()), jobs.c.lease_expires_at < now_plus()),
        or_(jobs.c.not_before.is_(null()), jobs.c.not_before <= now_plus()),
        count >= ALONE_AFTER if alone else count < ALONE_AFTER,
        scope_clause(scope),
    )


@lru_cache(maxsize=64)
def alone_waits(scope: Scope) -> Select[Any]:
    """Whether a job waits whose delivery was begun several times without an end."""
    return select(jobs.c.id).where(_due(scope, alone=True)).limit(1)


@lru_cache(maxsize=64)
def take(scope: Scope, *, alone: bool) -> ReturningUpdate[Any]:
    """Lease up to ``b_limit`` due jobs, oldest first. Parameters: b_host, b_owner, b_lease_s."""
    chosen = (
        select(jobs.c.id)
        .where(_due(scope, alone=alone))
        .order_by(jobs.c.id)
        .limit(bindparam("b_limit", type_=Integer))
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    return (
        update(jobs)
        .where(jobs.c.id.in_(select(chosen.c.id)))
        .values(
            lease_owner=bindparam("b_owner", type_=Text),
            lease_expires_at=now_plus(bindparam("b_lease_s", type_=Float)),
            fence=jobs.c.fence + 1,
            delivery_count=jobs.c.delivery_count + 1,
            not_before=null(),
        )
        .returning(jobs, seconds_since(jobs.c.limited_since).label("limited_s"))
    )


@lru_cache(maxsize=2)
def set_target(kind: Kind) -> ReturningUpdate[Any]:
    """Set the path that each held job is about to be written to; returns the ids held."""
    given = _given(kind, "output_path")
    return _held(given).values(output_path=given.c.output_path).returning(jobs.c.id)


@lru_cache(maxsize=2)
def succeed(kind: Kind) -> ReturningUpdate[Any]:
    """Bring each held job to ``succeeded``; returns the ids held."""
    given = _given(kind, "output_path", "file_sha256")
    statement = _held(given).values(
        state=JobState.SUCCEEDED.value,
        output_path=given.c.output_path,
        file_sha256=given.c.file_sha256,
        finished_at=now_plus(),
        limited_since=null(),
        **NO_LEASE,
        error_code=null(),
        error_message=null(),
    )
    return statement.returning(jobs.c.id)


def rows_of(claims: Iterable[tuple[Claim, dict[str, str]]]) -> dict[str, str]:
    """The parameter of ``set_target`` and ``succeed``: each claim with the columns to write."""
    rows = [
        {"id": claim.job.id.hex, "fence": claim.job.fence, "lease_owner": claim.owner, **rest}
        for claim, rest in claims
    ]
    return {"b_given": json.dumps(rows)}


def _given(kind: Kind, *more: str) -> CTE:
    """The claims as rows: ``id``, ``fence``, ``lease_owner`` and ``more``."""
    types: dict[str, Any] = {"id": Uuid(), "fence": Integer(), "lease_owner": Text()}
    types |= dict.fromkeys(more, Text())
    rows = bindparam("b_given", type_=Text())
    if kind == "sqlite":
        each = func.json_each(rows).table_valued("value")
        columns = [
            func.json_extract(each.c.value, f"$.{name}", type_=type_).label(name)
            for name, type_ in types.items()
        ]
        return select(*columns).cte("given")
    typed = [column(name, type_) for name, type_ in types.items()]
    table = func.jsonb_to_recordset(cast(rows, JsonDocument)).table_valued(*typed)
    return select(table.render_derived(with_types=True)).cte("given")


def _held(given: CTE) -> Update:
    """An update of those jobs that the claims in ``given`` still hold."""
    held = and_(
        jobs.c.id == given.c.id,
        jobs.c.fence == given.c.fence,
        jobs.c.lease_owner == given.c.lease_owner,
        jobs.c.state == JobState.GENERATED.value,
    )
    return update(jobs).where(in_order(held, given))
