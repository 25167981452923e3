"""What became of selected jobs that were told to do something."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
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

    @property
    def failed(self) -> list[JobChange]:
        """Those with an error."""
        return [each for each in self.changed if each.error is not None]

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        return {"jobs": [each.to_json() for each in self.changed]}


def changes_of(selected: SelectedJobs, changed: Iterable[JobChange]) -> JobChanges:
    """These changes, with the named jobs that are not among them left alone."""
    done = tuple(changed)
    ids = {each.job_id for each in done}
    return JobChanges(done, tuple(job for job in selected.named if job.id not in ids))
