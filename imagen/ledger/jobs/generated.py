"""The step from ``running`` to ``generated``: state, attempt and image bytes, or none of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Executable,
    FromClause,
    Insert,
    Integer,
    LargeBinary,
    String,
    Update,
    Uuid,
    bindparam,
    insert,
    null,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from imagen.domain.drawing_record import DrawingRecord
from imagen.domain.drawn import Drawn
from imagen.domain.job import AttemptState, Claim, JobState, Phase
from imagen.errors import LeaseLost
from imagen.ledger.jobs.artifacts import Artifact, drop_files, has_artifact, write_artifact_file
from imagen.ledger.jobs.claim_order import relaxed
from imagen.ledger.store.clauses import NO_LEASE
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import artifacts, attempts, jobs
from imagen.ledger.store.types import now_plus


@dataclass(frozen=True, slots=True)
class Finish:
    """What is known about an attempt that drew its image."""

    drawn: Drawn
    record: DrawingRecord
    artifact: Artifact
    latency_ms: int
    is_metered: bool = True


def record_generated(ledger: Ledger, claim: Claim, finish: Finish, *, durable: bool) -> None:
    """Commit the image's bytes and the state ``generated`` together, and give the lease back.

    Raises:
        LeaseLost: another worker holds the job; the attempt is kept as ``late``, the bytes are not.
        LedgerUnavailable: nothing was written, or it is unknown: safe to call again.
    """
    values = _values(claim, finish)
    if write_artifact_file(ledger, finish.artifact, durable=durable):
        values["b_data"] = None
    with ledger.write_one(durable=durable) as connection:
        if ledger.kind == "postgresql":
            is_held = connection.execute(_in_one(durable=durable), values).first() is not None
        else:
            is_held = connection.execute(_HELD, values).first() is not None
            if is_held:
                connection.execute(_DRAWN, values)
                connection.execute(_KEPT, values)
    if not is_held:
        with ledger.write() as connection:
            # The new holder's attempt is left alone.
            connection.execute(_LATE, values)
        # An earlier try of this very write may have been committed although its answer was lost:
        # then a row names the file.
        if not has_artifact(ledger, finish.artifact.key):
            drop_files(ledger, [finish.artifact.key])
        raise LeaseLost(f"job {claim.job.id} is no longer held by this worker")


def _values(claim: Claim, finish: Finish) -> dict[str, Any]:
    return {
        "b_job": claim.job.id,
        "b_fence": claim.job.fence,
        "b_owner": claim.owner,
        "b_attempt": claim.attempt.id,
        "b_model": finish.record.model,
        "b_seed": finish.record.seed,
        "b_steps": finish.record.steps,
        "b_latency_ms": finish.latency_ms,
        "b_details": dict(finish.drawn.details),
        "b_record": finish.record.to_json(),
        "b_is_metered": finish.is_metered,
        "b_cost_usd": finish.drawn.cost.usd,
        "b_cost_source": finish.drawn.cost.source,
        "b_key": finish.artifact.key,
        "b_size_bytes": len(finish.artifact.data),
        "b_sha256": finish.artifact.sha256,
        "b_data": finish.artifact.data,
    }


#: What an attempt learned: columns of ``attempts``, each with the parameter ``b_`` and its name.
_FACTS = (
    *("model", "seed", "steps", "latency_ms", "details", "record", "is_metered"),
    *("cost_usd", "cost_source"),
)


def _facts(state: AttemptState) -> Update:
    """What the attempt learned, under ``state``."""
    facts: dict[str, Any] = {name: bindparam(f"b_{name}") for name in _FACTS}
    return (
        update(attempts)
        .where(attempts.c.id == bindparam("b_attempt"))
        .values(state=state.value, finished_at=now_plus(), **facts)
    )


_HELD: ReturningUpdate[Any] = (
    update(jobs)
    .where(
        jobs.c.id == bindparam("b_job"),
        jobs.c.fence == bindparam("b_fence"),
        jobs.c.lease_owner == bindparam("b_owner"),
        jobs.c.state == JobState.RUNNING.value,
    )
    .values(
        state=JobState.GENERATED.value,
        phase=Phase.DELIVER.value,
        **NO_LEASE,
        limited_since=null(),
        error_code=null(),
        error_message=null(),
    )
    .returning(jobs.c.id)
)
_DRAWN = _facts(AttemptState.DRAWN)


def _kept(source: FromClause | None = None) -> Insert:
    """The artifact's row, once for each row of ``source``."""
    values = select(
        bindparam("b_key", type_=String),
        bindparam("b_job", type_=Uuid),
        bindparam("b_size_bytes", type_=Integer),
        bindparam("b_sha256", type_=String),
        bindparam("b_data", type_=LargeBinary),
        now_plus(),
    )
    if source is not None:
        values = values.select_from(source)
    columns = ["key", "job_id", "size_bytes", "sha256", "data", "created_at"]
    return insert(artifacts).from_select(columns, values)


_KEPT = _kept()


@lru_cache(maxsize=2)
def _in_one(*, durable: bool) -> Executable:
    """PostgreSQL's form: one statement, where the rest depends on the fenced update's row."""
    held = _HELD.cte("held")
    drawn = _DRAWN.where(select(held.c.id).exists()).returning(attempts.c.id).cte("drawn")
    columns = (held.c.id,) if durable else (held.c.id, relaxed().label("relaxed"))
    return select(*columns).add_cte(drawn, _kept(held).cte("kept"))


#: What a worker without a lease learned, where the attempt was ended for it.
_LATE = _facts(AttemptState.LATE).where(
    attempts.c.state == AttemptState.CANCELED, attempts.c.job_id == bindparam("b_job")
)
