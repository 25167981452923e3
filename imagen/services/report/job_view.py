"""The view of a job: what every answer about it tells, in `--json` and through other doors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from imagen.domain.drawing_record import DrawingRecord
from imagen.domain.job import Attempt, Job, JobState, record_of
from imagen.errors import ImagenError, error_type
from imagen.ledger.queries.jobs import attempts_of, get_job
from imagen.ledger.store.engine import Ledger


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with its attempts, as they were when they were read.

    ``error`` says why there is no image; None where there is one or none is due yet.
    """

    job: Job
    attempts: Sequence[Attempt] = ()
    error: ImagenError | None = None

    @property
    def is_done(self) -> bool:
        """Whether the image is written."""
        return self.job.state is JobState.SUCCEEDED

    @property
    def drawing_attempt(self) -> Attempt | None:
        """The attempt that drew the image, or that is under way."""
        return next((each for each in self.attempts if each.id == self.job.attempt_id), None)

    @property
    def record(self) -> DrawingRecord:
        """What was drawn; until then the request as the backend fitted it."""
        return record_of(self.job, self.drawing_attempt)

    def to_json(self) -> dict[str, Any]:
        """The documented keys; None where nothing is known."""
        job, record, drawn = self.job, self.record, self.drawing_attempt
        path = job.output_path if self.is_done else None
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
            "sha256": job.file_sha256 if self.is_done else None,
            "warnings": list(record.warnings),
            "error": self.error.to_json() if self.error else None,
        }


def view_job(ledger: Ledger, job: Job, *, error: ImagenError | None = None) -> JobView:
    """The view of a job that was just read. ``error`` tells more than what the ledger kept."""
    return JobView(job, attempts_of(ledger, job.id), error or error_of(job))


def view_jobs(ledger: Ledger, ids: Sequence[UUID]) -> list[JobView]:
    """The views of the jobs with these ids, in that order; unknown ids are left out."""
    jobs = (get_job(ledger, job_id) for job_id in ids)
    return [view_job(ledger, job) for job in jobs if job is not None]


def error_of(job: Job) -> ImagenError | None:
    """Why the job ended without an image, as the error that ended it; None otherwise.

    The ledger keeps message and hint as one sentence, so the hint is part of the message here.
    """
    if job.state not in (JobState.FAILED, JobState.CANCELED):
        return None
    return error_type(job.error_code)(job.error_message or f"job {job.id} is {job.state.value}")
