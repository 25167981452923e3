"""A job as commands answer it: the documented keys of ``--json``, and its error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from imagen.cli.screen.error_lines import describe
from imagen.domain.job import Attempt, Job, JobState, record_of
from imagen.errors import ImagenError, all_error_types

#: Enough of a UUIDv7 to hold its whole time of 48 bits.
_SHORTEST_ID = 13
_WHOLE_ID = 36


def job_facts(
    job: Job,
    attempts: Sequence[Attempt],
    *,
    error: ImagenError | None = None,
) -> dict[str, Any]:
    """The keys that every JSON answer about a job has; null where nothing is known.

    What the image is as its record says; until it is drawn, as the backend fitted it.
    """
    drawn = drawing_attempt(job, attempts)
    record = record_of(job, drawn)
    is_done = job.state is JobState.SUCCEEDED
    path = job.output_path if is_done else None
    error = error or error_of(job)
    return {
        "id": str(job.id),
        "state": job.state.value,
        "path": path,
        "sidecar": f"{path}.json" if path and job.output.sidecar else None,
        "seed": record.seed,
        "steps": record.steps,
        "negative": record.negative,
        "backend": job.backend,
        "model": record.model,
        "width": record.width,
        "height": record.height,
        "requested_size": str(record.requested.size),
        "format": job.request.format,
        "cost_usd": float(drawn.cost_usd) if drawn and drawn.cost_usd is not None else None,
        "cost_source": drawn.cost_source if drawn else None,
        "latency_ms": drawn.latency_ms if drawn else None,
        "sha256": job.file_sha256 if is_done else None,
        "warnings": list(record.warnings),
        "error": describe(error) if error else None,
    }


def drawing_attempt(job: Job, attempts: Sequence[Attempt]) -> Attempt | None:
    """The attempt that is under way, or the one that drew the image."""
    return next((each for each in reversed(attempts) if each.id == job.attempt_id), None)


def error_of(job: Job) -> ImagenError | None:
    """Why the job ended without an image, as the error that ended it; nothing otherwise.

    The ledger keeps message and hint as one sentence, so the hint is part of the message here.
    """
    if job.state not in (JobState.FAILED, JobState.CANCELED):
        return None
    cls = all_error_types().get(job.error_code or "", ImagenError)
    return cls(job.error_message or f"job {job.id} is {job.state.value}", "")


def short_ids(ids: Iterable[UUID]) -> dict[UUID, str]:
    """Each id's beginning, long enough to tell it from the others: all of the same length."""
    wanted = set(ids)
    length = _SHORTEST_ID
    while length < _WHOLE_ID and len({str(each)[:length] for each in wanted}) < len(wanted):
        length += 1
    # Nobody copies half a group: "0193a5b2-7c1d-" ends where the hyphen stands.
    return {each: str(each)[:length].rstrip("-") for each in wanted}
