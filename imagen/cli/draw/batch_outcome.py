"""What came of a run of a batch: counts, and the rows that failed, by the line they stand on."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from imagen.cli.screen.durations import brief
from imagen.domain.job import Job, JobState
from imagen.domain.printable import printable, printable_line
from imagen.errors import ImagenError
from imagen.ledger.queries.batches import count_warnings
from imagen.ledger.queries.jobs import count_states, get_job, jobs_in
from imagen.ledger.store.engine import Ledger
from imagen.services.submit.prompt_file import PromptFile
from imagen.services.submit.submit_batch import Submitted

#: How many rows that failed are named; more would not be read.
MOST_NAMED = 20
_ENDED = (JobState.FAILED, JobState.CANCELED)


@dataclass(frozen=True, slots=True)
class Failure:
    """A row without an image. ``line`` is nothing where the file does not hold it any more."""

    job_id: UUID
    line: int | None
    state: JobState
    code: str | None
    message: str


@dataclass(frozen=True)
class BatchOutcome:
    """The figures of one run. ``drawn`` and ``failed`` are this run's, by whoever drew them."""

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
    failures: Sequence[Failure]

    @classmethod
    def of(
        cls,
        ledger: Ledger,
        submitted: Submitted,
        prompts: PromptFile,
        *,
        name: str,
        output_folder: Path,
        seconds: float,
    ) -> Self:
        """The outcome as the ledger knows it now."""
        states = count_states(ledger, submitted.scope)
        return cls(
            name=name,
            batch_id=submitted.batch.id,
            output_folder=output_folder,
            total=submitted.total,
            drawn=states.get(JobState.SUCCEEDED, 0),
            done_before=submitted.done,
            failed=sum(states.get(state, 0) for state in _ENDED),
            failed_before=submitted.left_failed,
            left=sum(number for state, number in states.items() if not state.is_terminal),
            seconds=seconds,
            warnings=count_warnings(ledger, submitted.scope),
            failures=_failures(ledger, submitted, prompts),
        )

    def facts(self) -> dict[str, Any]:
        """The documented keys of ``--json``."""
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
            "failures": [
                {
                    "id": str(each.job_id),
                    "line": each.line,
                    "state": each.state.value,
                    "error": {"code": each.code, "message": each.message, "hint": ""},
                }
                for each in self.failures
            ],
        }

    def failure_lines(self) -> list[str]:
        """The named rows, those with the same reason together, and how many there are besides."""
        by_reason: dict[str, list[Failure]] = {}
        for each in self.failures:
            by_reason.setdefault(each.message, []).append(each)
        lines = [
            f"  {_where(rows)}: {printable_line(reason)}" for reason, rows in by_reason.items()
        ]
        unnamed = self.failed + self.failed_before - len(self.failures)
        if unnamed > 0:
            lines.append(f"  … and {unnamed:,} more")
        return lines

    def summary(self) -> str:
        """One line, such as ``1,632 prompts: 1,600 drawn in 41 s, 32 there already; in /pics``."""
        if self.done_before == self.total:
            images = "1 image is" if self.total == 1 else f"{self.total:,} images are"
            return f"nothing to do: {images} there already"
        parts = []
        if self.drawn or not self.done_before:
            rate = f" ({self.drawn / self.seconds:.3g}/s)" if self.seconds > 1 else ""
            parts.append(f"{self.drawn:,} drawn in {brief(self.seconds)}{rate}")
        for number, what in (
            (self.done_before, "there already"),
            (self.failed, "failed"),
            (self.failed_before, "failed before, left alone"),
            (self.left, "not drawn yet"),
        ):
            if number:
                parts.append(f"{number:,} {what}")
        prompts = "1 prompt" if self.total == 1 else f"{self.total:,} prompts"
        return f"{prompts}: {', '.join(parts)}; in {printable(str(self.output_folder))}"

    def error(self) -> ImagenError:
        """Why the command does not end with 0 although it is through."""
        failed = self.failed + self.failed_before
        name = shlex.quote(self.name)
        return ImagenError(
            f"{failed:,} of {self.total:,} could not be drawn",
            f"imagen jobs ls --batch {name} --state failed\n"
            "draw them again: the same command with --retry-failed",
        )


def _where(failures: Sequence[Failure]) -> str:
    """``line 7``, ``lines 7, 12, 40``; jobs whose line is gone by their ids."""
    numbers = [str(each.line) for each in failures if each.line]
    ids = [str(each.job_id) for each in failures if not each.line]
    parts = []
    if numbers:
        parts.append(f"line{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}")
    if ids:
        parts.append(f"job{'s' if len(ids) > 1 else ''} {', '.join(ids)}")
    return "; ".join(parts)


def _failures(ledger: Ledger, submitted: Submitted, prompts: PromptFile) -> list[Failure]:
    now = islice(jobs_in(ledger, submitted.scope, states=_ENDED), MOST_NAMED)
    before = (get_job(ledger, row.job_id) for row in submitted.named_failures)
    jobs = [*now, *(job for job in before if job is not None)][:MOST_NAMED]
    if not jobs:
        return []
    lines = _lines_of(prompts, {job.request.prompt for job in jobs})
    failures = [
        Failure(
            job.id,
            _line_of(job, lines),
            job.state,
            job.error_code,
            job.error_message or job.state.value,
        )
        for job in jobs
    ]
    return sorted(failures, key=lambda each: (each.line is None, each.line or 0))


def _lines_of(prompts: PromptFile, wanted: Iterable[str]) -> dict[str, list[int]]:
    """The line numbers of some prompts; a row knows what it asks for, not where it stands now."""
    found: dict[str, list[int]] = {prompt: [] for prompt in wanted}
    for number, prompt in _numbered(prompts):
        if prompt in found:
            found[prompt].append(number)
    return found


def _numbered(prompts: PromptFile) -> Iterator[tuple[int, str]]:
    for line in prompts.lines():
        # As the ledger holds it: NUL cannot be stored.
        yield line.number, line.prompt.replace("\x00", "")


def _line_of(job: Job, lines: dict[str, list[int]]) -> int | None:
    numbers = lines[job.request.prompt]
    if not numbers:
        return None
    # The key ends in how often the same was asked for before it in the file.
    occurrence = int((job.dedupe_key or "1").rpartition(":")[2])
    return numbers[min(occurrence, len(numbers)) - 1]
