"""What came of one claim, for the executors."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from imagen.domain.job import JobState
from imagen.errors import ImagenError
from imagen.services.draw.retry_policy import Retry


@dataclass(frozen=True, slots=True)
class ClaimOutcome:
    """What came of one claim: the job's state now, and the error that kept it from its next one.

    ``retry`` is set when the job went back to the queue by the retry policy.
    """

    job_id: UUID
    state: JobState
    seconds: float = 0.0
    error: ImagenError | None = None
    retry: Retry | None = None
