"""Cancels jobs: through the workers that draw them, or here where no process holds them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from imagen.domain.job import JobState
from imagen.domain.protocols import Publisher
from imagen.domain.scope import Scope
from imagen.errors import ImagenError
from imagen.ledger.jobs.control import request_cancel
from imagen.ledger.queries.jobs import get_job, jobs_in
from imagen.ledger.store.engine import Ledger
from imagen.services.control.job_changes import JobChange, JobChanges, changes_of
from imagen.services.control.select_jobs import SelectedJobs
from imagen.services.draw.draw import DrawService
from imagen.services.leases.lease_holder import LeaseHolder
from imagen.services.leases.reconcile import Reconciler
from imagen.services.submit.wakeups import wake_workers

#: A backend may take some 10 s to stop.
_AT_ONCE = 8


class Canceler(Protocol):
    """Cancels the jobs of a scope."""

    def cancel(self, scope: Scope) -> list[JobChange]:
        """Cancel the unfinished jobs of ``scope``; says what each is now.

        Raises:
            LedgerUnavailable: the ledger is away.
        """


class CancelPublisher(Publisher, Protocol):
    """A ``Publisher`` that also reaches the workers that are drawing."""

    def announce_cancel(self) -> None:
        """Tell workers that jobs were canceled; never raises."""


def cancel_jobs(canceler: Canceler, selected: SelectedJobs) -> JobChanges:
    """Cancel the selected jobs that are not done yet; those that are done stay done.

    A waiting job ends at once. A running one ends when the process that holds it hears of it.

    Raises:
        LedgerUnavailable: the ledger is away.
        BrokerUnavailable: workers cannot be told, and hear of it later; the jobs are marked.
    """
    return changes_of(selected, canceler.cancel(selected.scope))


@dataclass(frozen=True)
class WorkerCanceler:
    """Leaves to workers what a backend may be drawing."""

    ledger: Ledger
    publisher: CancelPublisher

    def cancel(self, scope: Scope) -> list[JobChange]:
        states = request_cancel(self.ledger, scope)
        self.publisher.announce_cancel()
        # What a backend has and no worker holds is canceled there by the worker that claims it.
        waiting = jobs_in(self.ledger, scope, states=[JobState.QUEUED])
        wake_workers(self.publisher, [job for job in waiting if job.id in states])
        return _changes(states, {})


@dataclass(frozen=True)
class LocalCanceler:
    """Cancels at its backend what no living process holds, by the id on record.

    The cost of such a job is recorded. Jobs that another host delivers are only marked: their
    backend may be a server that only that host reaches.
    """

    ledger: Ledger
    drawing: DrawService
    reconciler: Reconciler
    holder: LeaseHolder

    def cancel(self, scope: Scope) -> list[JobChange]:
        # Releases the jobs that processes of this host held when they were killed.
        self.reconciler.tick()
        self.reconciler.leave()
        states = request_cancel(self.ledger, scope)
        errors: dict[UUID, ImagenError] = {}
        waiting = [job_id for job_id, state in states.items() if state is JobState.QUEUED]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for job_id, error in pool.map(self._cancel_one, waiting):
                if error is not None:
                    errors[job_id] = error
                job = get_job(self.ledger, job_id)
                states[job_id] = job.state if job else states[job_id]
        return _changes(states, errors)

    def _cancel_one(self, job_id: UUID) -> tuple[UUID, ImagenError | None]:
        """Cancel it at its backend and end it; the error is why it has not ended."""
        job = get_job(self.ledger, job_id)
        if job is None or job.delivery_host != self.holder.host:
            return job_id, None
        try:
            self.drawing.backends.get(job.backend)
        except ImagenError as error:
            return job_id, error
        # Claimed like any other: with its mark set it is not drawn but canceled.
        claimant = self.holder.claimant([job.queue], Scope(job_ids=(job_id,)))
        outcome = self.drawing.draw_next(claimant)
        if outcome is None or outcome.state is JobState.CANCELED:
            return job_id, None
        return job_id, outcome.error


def _changes(
    states: Mapping[UUID, JobState], errors: Mapping[UUID, ImagenError]
) -> list[JobChange]:
    return [JobChange(job_id, state, errors.get(job_id)) for job_id, state in states.items()]
