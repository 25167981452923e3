"""Converts rows of the ledger into the domain's values, and drafts into columns.

A field and its column have the same name; only those that differ in type stand here.
"""

from __future__ import annotations

from dataclasses import asdict, fields
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
_JOB_FIELDS = [each.name for each in fields(Job)]
_DRAFT_FIELDS = [each.name for each in fields(JobDraft)]
_ATTEMPT_FIELDS = [each.name for each in fields(Attempt)]


def job_from_row(row: Row[Any]) -> Job:
    """The job that a whole row of ``jobs`` holds."""
    values = {name: getattr(row, name) for name in _JOB_FIELDS} | {
        "state": JobState(row.state),
        "phase": Phase(row.phase),
        "lane": _LANE_OF[row.lane],
        "request": request_from_json(row.request),
        "output": Output(**row.output),
        "requested": requested_from_json(row.requested),
    }
    return Job(**values)


def values_of_draft(draft: JobDraft) -> dict[str, Any]:
    """The columns that a draft fills; ``created_at`` is left to the database's clock."""
    return {name: getattr(draft, name) for name in _DRAFT_FIELDS} | {
        "state": JobState.QUEUED.value,
        "phase": Phase.DRAW.value,
        "lane": LANE_NUMBER[draft.lane],
        "request": draft.request.to_json(),
        "output": asdict(draft.output),
        "requested": draft.requested.to_json() if draft.requested else None,
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
    values = {name: getattr(row, name) for name in _ATTEMPT_FIELDS} | {
        "state": AttemptState(row.state),
        "details": row.details or {},
        "record": record_from_json(row.record),
    }
    return Attempt(**values)
