"""Rows of the ledger as the domain's values, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, Select, func, select

from imagen.domain.drawing_record import record_from_json, requested_from_json
from imagen.domain.job import (
    Attempt,
    AttemptState,
    Job,
    JobDraft,
    JobState,
    Lane,
    Output,
    Phase,
)
from imagen.domain.request import request_from_json
from imagen.ledger.store.tables import attempts
from imagen.ledger.store.types import seconds_since

LANE_NUMBER = {Lane.INTERACTIVE: 0, Lane.BULK: 1}
_LANE_OF = {number: lane for lane, number in LANE_NUMBER.items()}


def job_from_row(row: Row[Any]) -> Job:
    """The job that a whole row of ``jobs`` holds."""
    return Job(
        id=row.id,
        state=JobState(row.state),
        request=request_from_json(row.request),
        output=Output(**row.output),
        backend=row.backend,
        queue=row.queue,
        lane=_LANE_OF[row.lane],
        caller=row.caller,
        delivery_host=row.delivery_host,
        created_at=row.created_at,
        phase=Phase(row.phase),
        affinity=row.affinity,
        batch_id=row.batch_id,
        position=row.position,
        dedupe_key=row.dedupe_key,
        not_before=row.not_before,
        lease_owner=row.lease_owner,
        lease_expires_at=row.lease_expires_at,
        fence=row.fence,
        attempt_id=row.attempt_id,
        attempt_count=row.attempt_count,
        tried_before=row.tried_before,
        crash_count=row.crash_count,
        delivery_count=row.delivery_count,
        cancel_requested_at=row.cancel_requested_at,
        output_path=row.output_path,
        file_sha256=row.file_sha256,
        error_code=row.error_code,
        error_message=row.error_message,
        owner_user_id=row.owner_user_id,
        sync=row.sync,
        requested=requested_from_json(row.requested),
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def values_of_draft(draft: JobDraft) -> dict[str, Any]:
    """The columns that a draft fills; ``created_at`` is left to the database's clock."""
    return {
        "id": draft.id,
        "dedupe_key": draft.dedupe_key,
        "batch_id": draft.batch_id,
        "position": draft.position,
        "run": draft.run,
        "queue": draft.queue,
        "lane": LANE_NUMBER[draft.lane],
        "backend": draft.backend,
        "affinity": draft.affinity,
        "request": draft.request.to_json(),
        "output": asdict(draft.output),
        "state": JobState.QUEUED.value,
        "phase": Phase.DRAW.value,
        "delivery_host": draft.delivery_host,
        "owner_user_id": draft.owner_user_id,
        "sync": draft.sync,
        "requested": draft.requested.to_json() if draft.requested else None,
        "caller": draft.caller,
    }


def select_attempts() -> Select[Any]:
    """Every attempt, as ``attempt_from_row`` reads it."""
    begun_at = func.coalesce(attempts.c.intended_at, attempts.c.submitted_at)
    return select(
        attempts,
        seconds_since(attempts.c.intended_at).label("intent_age_s"),
        seconds_since(begun_at).label("begun_age_s"),
    )


def attempt_from_row(row: Row[Any]) -> Attempt:
    """The attempt that a row of ``select_attempts`` holds."""
    return Attempt(
        id=row.id,
        job_id=row.job_id,
        number=row.number,
        backend=row.backend,
        worker=row.worker,
        state=AttemptState(row.state),
        external_id=row.external_id,
        place=row.place,
        intent_age_s=row.intent_age_s,
        begun_age_s=row.begun_age_s,
        model=row.model,
        seed=row.seed,
        steps=row.steps,
        cost_usd=row.cost_usd,
        cost_source=row.cost_source,
        latency_ms=row.latency_ms,
        details=row.details or {},
        record=record_from_json(row.record),
        is_metered=row.is_metered,
        error_code=row.error_code,
        error_message=row.error_message,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )
