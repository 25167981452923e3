"""What came of a run of a batch: counts, exit code, and the rows without an image by their line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from imagen.domain.job import Job, JobState
from imagen.ledger.queries.batches import count_warnings
from imagen.ledger.queries.jobs import get_job, jobs_in
from imagen.ledger.store.engine import Ledger
from imagen.services.report.exit_code import exit_code_of
from imagen.services.report.job_counts import count_jobs
from imagen.services.submit.prompt_file import PromptFile
from imagen.services.submit.submit_batch import SubmittedBatch

#: How many rows without an image are listed.
MOST_LISTED = 20
_ENDED = (JobState.FAILED, JobState.CANCELED)


@dataclass(frozen=True, slots=True)
class RowFailure:
    """A row without an image. ``line`` is None where the file does not hold it any more."""

    job_id: UUID
    line: int | None
    state: JobState
    code: str | None
    message: str

    def to_json(self) -> dict[str, Any]:
        return {
            "id": str(self.job_id),
            "line": self.line,
            "state": self.state.value,
            "error": {"code": self.code, "message": self.message, "hint": ""},
        }


@dataclass(frozen=True)
class BatchOutcome:
    """The figures of one run. ``drawn`` and ``failed`` are of this run, by whichever process."""

    name: str
    batch_id: UUID
    output_folder: Path
    total: int
    drawn: int
    done_before: int
    failed: int
    failed_before: int
    left: int
    seconds: float
    warnings: Counter[str]
    failures: Sequence[RowFailure]

    @classmethod
    def of(
        cls,
        ledger: Ledger,
        submitted: SubmittedBatch,
        prompts: PromptFile,
        *,
        name: str,
        output_folder: Path,
        seconds: float,
    ) -> Self:
        """The outcome as the ledger knows it now."""
        counts = count_jobs(ledger, [submitted.scope])
        return cls(
            name=name,
            batch_id=submitted.batch.id,
            output_folder=output_folder,
            total=submitted.total,
            drawn=counts.drawn,
            done_before=submitted.done,
            failed=counts.failed + counts.canceled,
            failed_before=submitted.left_failed,
            left=counts.unfinished,
            seconds=seconds,
            warnings=count_warnings(ledger, submitted.scope),
            failures=_failures(ledger, submitted, prompts),
        )

    @property
    def without_image(self) -> int:
        """How many rows have failed or were canceled, in this run or an earlier one."""
        return self.failed + self.failed_before

    @property
    def exit_code(self) -> int:
        return exit_code_of(unfinished=self.left, without_image=self.without_image)

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        return {
            "name": self.name,
            "batch_id": str(self.batch_id),
            "output_folder": str(self.output_folder),
            "total": self.total,
            "drawn": self.drawn,
            "done_before": self.done_before,
            "failed": self.failed,
            "failed_before": self.failed_before,
            "left": self.left,
            "seconds": round(self.seconds, 3),
            "warnings": dict(self.warnings),
            "failures": [each.to_json() for each in self.failures],
        }


def _failures(
    ledger: Ledger, submitted: SubmittedBatch, prompts: PromptFile
) -> tuple[RowFailure, ...]:
    now = islice(jobs_in(ledger, submitted.scope, states=_ENDED), MOST_LISTED)
    before = (get_job(ledger, job_id) for job_id in submitted.failed_ids)
    jobs = [*now, *(job for job in before if job is not None)][:MOST_LISTED]
    if not jobs:
        return ()
    lines = _lines_of(prompts, {job.request.prompt for job in jobs})
    failures = [
        RowFailure(
            job.id,
            _line_of(job, lines),
            job.state,
            job.error_code,
            job.error_message or job.state.value,
        )
        for job in jobs
    ]
    return tuple(sorted(failures, key=lambda each: (each.line is None, each.line or 0)))


def _lines_of(prompts: PromptFile, wanted: Iterable[str]) -> dict[str, list[int]]:
    """The numbers of the lines that hold these prompts; a job does not know its line."""
    found: dict[str, list[int]] = {prompt: [] for prompt in wanted}
    for line in prompts.lines():
        # The ledger stores prompts without NUL.
        prompt = line.prompt.replace("\x00", "")
        if prompt in found:
            found[prompt].append(line.number)
    return found


def _line_of(job: Job, lines: dict[str, list[int]]) -> int | None:
    numbers = lines[job.request.prompt]
    if not numbers:
        return None
    # The key ends in how often the same was asked for up to this row of the file.
    occurrence = int((job.dedupe_key or "1").rpartition(":")[2])
    return numbers[min(occurrence, len(numbers)) - 1]
