"""Which jobs are meant: some by id, those of a batch, or all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imagen.domain.job import Job
from imagen.domain.scope import Scope
from imagen.errors import RequestError
from imagen.ledger.queries.batches import find_batch
from imagen.ledger.queries.jobs import find_job
from imagen.ledger.store.engine import Ledger


@dataclass(frozen=True, slots=True)
class JobSelector:
    """Exactly one of: job ids or beginnings of them, a batch's name or key, every job."""

    ids: tuple[str, ...] = ()
    batch: str = ""
    every: bool = False

    @property
    def is_valid(self) -> bool:
        return sum((bool(self.ids), bool(self.batch), self.every)) == 1


@dataclass(frozen=True, slots=True)
class SelectedJobs:
    """The jobs that are meant: ``named`` has those given by id, each once, in their order."""

    scope: Scope
    named: tuple[Job, ...] = ()


def select_jobs(ledger: Ledger, selector: JobSelector, *, host: str | None = None) -> SelectedJobs:
    """The jobs that are meant; with ``host`` only those that it has to deliver.

    Raises:
        RequestError: there is no such job or batch, an id is ambiguous, or a named unfinished job
            is delivered by another host than ``host``.
    """
    if not selector.is_valid:
        raise RequestError("name jobs by id, by batch, or all of them", "give one of the three")
    if selector.ids:
        named = _find_named(ledger, selector.ids)
        if host is not None:
            _require_delivered_by(host, named)
        return SelectedJobs(Scope(job_ids=tuple(job.id for job in named)), named)
    batch_id = find_batch(ledger, selector.batch).id if selector.batch else None
    return SelectedJobs(Scope(batch_id=batch_id, delivery_host=host))


def _find_named(ledger: Ledger, ids: Sequence[str]) -> tuple[Job, ...]:
    found = [find_job(ledger, prefix) for prefix in ids]
    return tuple({job.id: job for job in found}.values())


def _require_delivered_by(host: str, jobs: Sequence[Job]) -> None:
    for job in jobs:
        if job.delivery_host != host and not job.state.is_terminal:
            raise RequestError(
                f"job {job.id} is delivered on host {job.delivery_host!r}, not on {host!r}",
                "run it there; or, if that is an old name of this machine, with"
                f" IMAGEN_HOST={job.delivery_host}",
            )
