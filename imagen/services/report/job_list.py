"""The newest jobs and batches of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from imagen.domain.job import Job, JobState
from imagen.ledger.queries import batches, jobs
from imagen.ledger.store.engine import Ledger


@dataclass(frozen=True, slots=True)
class JobList:
    """The newest of the jobs that match, newest first; ``is_cut`` when there are more."""

    jobs: tuple[Job, ...]
    is_cut: bool


def newest_jobs(
    ledger: Ledger,
    *,
    limit: int,
    states: tuple[JobState, ...] = (),
    backend: str = "",
    batch: str = "",
    since: datetime | None = None,
) -> JobList:
    """The newest ``limit`` jobs that match; what is not given matches everything.

    Raises:
        LedgerError: the ledger is away.
    """
    which = jobs.Filter(states, backend or None, batch or None, since)
    found = jobs.list_jobs(ledger, which, limit=limit + 1)
    return JobList(tuple(found[:limit]), len(found) > limit)


def newest_batches(ledger: Ledger) -> list[str]:
    """The names of the newest batches, each once, newest first.

    Raises:
        LedgerError: the ledger is away.
    """
    return batches.batch_names(ledger)
