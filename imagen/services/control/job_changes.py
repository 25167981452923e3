"""What became of jobs that were selected to be canceled or retried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self
from uuid import UUID

from imagen.domain.job import Job, JobState
from imagen.errors import ImagenError
from imagen.services.control.select_jobs import SelectedJobs


@dataclass(frozen=True, slots=True)
class JobChange:
    """What a job is now; ``error`` says why it is not what was asked for."""

    job_id: UUID
    state: JobState
    error: ImagenError | None = None

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        return {"id": str(self.job_id), "state": self.state.value}


@dataclass(frozen=True, slots=True)
class JobChanges:
    """``left_alone`` are the named jobs whose state did not allow it."""

    changed: tuple[JobChange, ...]
    left_alone: tuple[Job, ...] = ()

    @classmethod
    def of(
        cls,
        selected: SelectedJobs,
        states: Mapping[UUID, JobState],
        errors: Mapping[UUID, ImagenError] = MappingProxyType({}),
    ) -> Self:
        """The jobs that were changed, by their states now, and the named ones that were not."""
        return cls(
            tuple(JobChange(job_id, state, errors.get(job_id)) for job_id, state in states.items()),
            tuple(job for job in selected.named if job.id not in states),
        )

    @property
    def failed(self) -> list[JobChange]:
        """Those with an error."""
        return [each for each in self.changed if each.error is not None]

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        return {"jobs": [each.to_json() for each in self.changed]}
