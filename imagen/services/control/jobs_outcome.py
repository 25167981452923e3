"""What came of a run over several jobs: views, counts, and one error for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from imagen.domain.scope import Scope
from imagen.errors import GaveUpWaiting, ImagenError
from imagen.ledger.queries.batches import count_warnings, ledger_time
from imagen.ledger.store.engine import Ledger
from imagen.services.report.exit_code import SOME_FAILED, exit_code_of
from imagen.services.report.job_counts import JobCounts, count_jobs
from imagen.services.report.job_view import JobView, view_jobs


@dataclass(frozen=True, slots=True)
class NamedOutcome:
    """The named jobs in their order; each without an image has the best reason for that."""

    views: tuple[JobView, ...]

    @property
    def without_image(self) -> list[JobView]:
        return [view for view in self.views if not view.is_done]

    @property
    def warnings(self) -> Counter[str]:
        """How many images each warning is about."""
        return Counter(warning for view in self.views for warning in view.record.warnings)

    @property
    def exit_code(self) -> int:
        """That of a single job's error; of several, 6 when some are unfinished, else 4."""
        error = self.error
        if error is None:
            return 0
        is_one_of_several = len(self.views) > 1 and not isinstance(error, GaveUpWaiting)
        return SOME_FAILED if is_one_of_several else error.exit_code

    @property
    def error(self) -> ImagenError | None:
        """The error of a single job, or one for several; None when all have their image."""
        errors = [view.error for view in self.without_image if view.error is not None]
        if not errors or len(self.views) == 1:
            return errors[0] if errors else None
        late = [error for error in errors if isinstance(error, GaveUpWaiting)]
        if late:
            text = f"{len(late)} of {len(self.views)} jobs are not done yet"
            return GaveUpWaiting(text, late[0].hint)
        return ImagenError(
            f"{len(errors)} of {len(self.views)} jobs have no image",
            "draw failed ones again with: imagen jobs retry ID …",
        )

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        return {"jobs": [view.to_json() for view in self.views]}


def named_outcome(
    ledger: Ledger, ids: Sequence[UUID], *, errors: Mapping[UUID, ImagenError], hint: str
) -> NamedOutcome:
    """What came of these jobs. ``errors`` tell more than what the ledger kept.

    ``hint`` says how to go on with jobs that are not done yet.
    """

    def with_reason(view: JobView) -> JobView:
        if view.is_done:
            return view
        job = view.job
        late = GaveUpWaiting(f"gave up waiting for job {job.id}, which is {job.state.value}", hint)
        return replace(view, error=errors.get(job.id) or view.error or late)

    return NamedOutcome(tuple(with_reason(view) for view in view_jobs(ledger, ids)))


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """The figures of a run over many jobs; ``counts`` has what ended since it began."""

    counts: JobCounts
    warnings: Counter[str]
    seconds: float

    @property
    def exit_code(self) -> int:
        counts = self.counts
        return exit_code_of(
            unfinished=counts.unfinished, without_image=counts.failed + counts.canceled
        )

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        return {
            "drawn": self.counts.drawn,
            "failed": self.counts.failed,
            "canceled": self.counts.canceled,
            "left": self.counts.unfinished,
            "seconds": round(self.seconds, 3),
            "warnings": dict(self.warnings),
        }


@dataclass(frozen=True)
class JobRun:
    """A run over the unfinished jobs of some scopes; ``before`` is how they were at its start."""

    ledger: Ledger
    scopes: tuple[Scope, ...]
    before: JobCounts
    began_at: datetime

    def counts(self) -> JobCounts:
        """What has become of the jobs that were unfinished, whichever process drew them."""
        now, before = count_jobs(self.ledger, self.scopes), self.before
        ended = JobCounts(
            now.drawn - before.drawn, now.failed - before.failed, now.canceled - before.canceled
        )
        return replace(ended, unfinished=before.unfinished - ended.over)

    def outcome(self, *, seconds: float) -> RunOutcome:
        """The figures of the run as the ledger knows them now."""
        warnings: Counter[str] = Counter()
        for scope in self.scopes:
            warnings += count_warnings(self.ledger, scope, finished_since=self.began_at)
        return RunOutcome(self.counts(), warnings, seconds)


def begin_run(ledger: Ledger, scopes: Sequence[Scope]) -> JobRun:
    """Remember how the jobs of these scopes are now.

    Raises:
        LedgerError: the ledger is away.
    """
    return JobRun(ledger, tuple(scopes), count_jobs(ledger, scopes), ledger_time(ledger))
