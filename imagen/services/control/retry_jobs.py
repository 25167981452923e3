"""Puts failed and canceled jobs back on their way, where they stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from imagen.domain.job import Job, JobState
from imagen.domain.protocols import Publisher
from imagen.domain.request import FORMAT_BY_SUFFIX
from imagen.domain.scope import Scope
from imagen.errors import RequestError
from imagen.ledger.jobs.cancel_and_retry import redirect_job, retry_jobs
from imagen.ledger.queries.jobs import jobs_in
from imagen.ledger.store.engine import Ledger
from imagen.output.paths import check_length
from imagen.services.control.job_changes import JobChanges
from imagen.services.control.select_jobs import SelectedJobs
from imagen.services.submit.delivery_folders import DeliveryFolders
from imagen.services.submit.wakeups import wake_workers

#: SQLite takes at most 32,766 values in a statement, and long lists make every claim slow.
_CHUNK = 500


def retry_selected(ledger: Ledger, selected: SelectedJobs) -> JobChanges:
    """Put selected jobs back: of all jobs the failed ones, of a batch also the canceled ones.

    A job whose image could not be written goes on from the image. Workers still have to be woken.

    Raises:
        LedgerUnavailable: the ledger is away.
    """
    ids = [job.id for job in selected.named] or _ended(ledger, selected.scope)
    states: dict[UUID, JobState] = {}
    for scope in scopes_of(ids):
        states |= retry_jobs(ledger, scope)
    # In the order of the names, or of submission.
    return JobChanges.of(selected, {each: states[each] for each in ids if each in states})


def wake_for_retried(ledger: Ledger, publisher: Publisher, changes: JobChanges) -> None:
    """Tell workers of the jobs that have to be drawn again.

    Raises:
        BrokerUnavailable: they are drawn all the same when Redis is back.
    """
    for scope in scopes_of([each.job_id for each in changes.changed]):
        wake_workers(publisher, jobs_in(ledger, scope, states=[JobState.QUEUED]))


def redirect_output(ledger: Ledger, job: Job, path: Path, *, folders: DeliveryFolders) -> None:
    """Let a failed or canceled job write its image to ``path``, which is replaced.

    Raises:
        RequestError: the process that will write it refuses the path, or the job has not ended
            without an image.
    """
    check_length(path, sidecar=job.output.sidecar)
    output = replace(job.output, folder=str(path.parent), name=path.name, replace=True)
    folders.require(output)
    image_format = FORMAT_BY_SUFFIX[path.suffix.lower()]
    if not redirect_job(ledger, job.id, output, image_format=image_format):
        raise RequestError(
            f"job {job.id} is {job.state.value}; --output is for a failed or canceled one",
            f"imagen jobs show {job.id}",
        )


def scopes_of(ids: Sequence[UUID]) -> list[Scope]:
    """These jobs as scopes of a size that a database takes in one statement."""
    return [
        Scope(job_ids=tuple(ids[start : start + _CHUNK])) for start in range(0, len(ids), _CHUNK)
    ]


def _ended(ledger: Ledger, scope: Scope) -> list[UUID]:
    states = [JobState.FAILED, JobState.CANCELED] if scope.batch_id else [JobState.FAILED]
    return [job.id for job in jobs_in(ledger, scope, states=states)]
