"""Submits one request: everything is checked before its job is committed to the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from imagen.domain.drawing_record import requested_of
from imagen.domain.job import JobDraft, JobState
from imagen.ledger.jobs.submit import submit_job
from imagen.ledger.store.engine import Ledger
from imagen.services.submit.delivery_folders import DeliveryFolders, require_writable
from imagen.services.submit.resolve import (
    Backends,
    RequestInput,
    SubmitContext,
    make_draft,
    resolve,
)


@dataclass(frozen=True, slots=True)
class AcceptedJob:
    """A job right after its commit: it is in the ledger and will not be lost."""

    draft: JobDraft

    def to_json(self) -> dict[str, Any]:
        """The documented keys of a job that is not drawn yet."""
        draft = self.draft
        requested = draft.requested or requested_of(draft.request)
        return {
            "id": str(draft.id),
            "state": JobState.QUEUED.value,
            "seed": draft.request.seed,
            "steps": draft.request.steps,
            "negative": draft.request.negative,
            "backend": draft.backend,
            "width": draft.request.width,
            "height": draft.request.height,
            "requested_size": str(requested.size),
            "format": draft.request.format,
            "warnings": list(requested.warnings),
            "error": None,
        }


def prepare_job(
    request_input: RequestInput,
    context: SubmitContext,
    backends: Backends,
    folders: DeliveryFolders,
    *,
    now: datetime,
) -> JobDraft:
    """The job of a request, resolved and checked, with its warnings; nothing is stored yet.

    ``now`` is the submitter's local time, which file names may contain.

    Raises:
        RequestError: the request cannot be drawn, or its image cannot be written there.
        ConfigError: the chosen backend is configured wrongly.
    """
    resolved = resolve(request_input, context, backends)
    draft = make_draft(resolved, request_input, context, now=now)
    require_writable(Path(draft.output.folder))
    folders.require(draft.output)
    return draft


def accept_job(ledger: Ledger, draft: JobDraft) -> AcceptedJob:
    """Commit a prepared job; workers still have to be woken (see ``wakeups``)."""
    submit_job(ledger, draft)
    return AcceptedJob(draft)
