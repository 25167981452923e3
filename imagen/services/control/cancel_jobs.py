"""Cancels jobs: through the workers that draw them, or here where no process holds them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol
from uuid import UUID

from imagen.domain.job import JobState
from imagen.domain.protocols import Publisher
from imagen.domain.scope import Scope
from imagen.errors import ImagenError
from imagen.ledger.jobs.cancel_and_retry import request_cancel
from imagen.ledger.queries.jobs import get_job, jobs_in
from imagen.ledger.store.engine import Ledger
from imagen.services.control.job_changes import JobChanges
from imagen.services.control.select_jobs import SelectedJobs
from imagen.services.draw.draw import DrawService
from imagen.services.leases.lease_holder import LeaseHolder
from imagen.services.leases.reconcile import Reconciler
from imagen.services.submit.wakeups import wake_workers

#: A backend may take some 10 s to stop.
_AT_ONCE = 8


class CancelPublisher(Publisher, Protocol):
    """A ``Publisher`` that also reaches the workers that are drawing."""

    def announce_cancel(self) -> None:
        """Tell workers that jobs were canceled; never raises."""


def cancel_by_workers(
    ledger: Ledger, publisher: CancelPublisher, selected: SelectedJobs
) -> JobChanges:
    """Cancel the selected jobs that are not done yet; those that are done stay done.

    A waiting job ends at once. A running one, or one that only a backend has, ends when a worker
    hears of it.

    Raises:
        LedgerUnavailable: the ledger is away.
        BrokerUnavailable: workers cannot be told, and hear of it later; the jobs are marked.
    """
    states = request_cancel(ledger, selected.scope)
    publisher.announce_cancel()
    # What a backend has and no worker holds is canceled there by the worker that claims it.
    waiting = jobs_in(ledger, selected.scope, states=[JobState.QUEUED])
    wake_workers(publisher, [job for job in waiting if job.id in states])
    return JobChanges.of(selected, states)


def cancel_here(
    ledger: Ledger,
    drawing: DrawService,
    reconciler: Reconciler,
    holder: LeaseHolder,
    selected: SelectedJobs,
) -> JobChanges:
    """The same without workers: cancels at its backend what no living process holds.

    That is done by the id on record, and the cost is recorded. Jobs that another host delivers are
    only marked: their backend may be a server that only that host reaches.

    Raises:
        LedgerUnavailable: the ledger is away.
    """
    # Releases the jobs that processes of this host held when they were killed.
    reconciler.tick()
    reconciler.leave()
    states = request_cancel(ledger, selected.scope)
    waiting = [job_id for job_id, state in states.items() if state is JobState.QUEUED]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        errors = list(pool.map(partial(_cancel_one, ledger, drawing, holder), waiting))
    for job_id in waiting:
        job = get_job(ledger, job_id)
        states[job_id] = job.state if job else states[job_id]
    failed = {job_id: error for job_id, error in zip(waiting, errors, strict=True) if error}
    return JobChanges.of(selected, states, failed)


def _cancel_one(
    ledger: Ledger, drawing: DrawService, holder: LeaseHolder, job_id: UUID
) -> ImagenError | None:
    """Cancel a job at its backend and end it; the error is why it has not ended."""
    job = get_job(ledger, job_id)
    if job is None or job.delivery_host != holder.host:
        return None
    try:
        drawing.backends.get(job.backend)
    except ImagenError as error:
        return error
    # Claimed like any other: with its mark set it is not drawn but canceled.
    outcome = drawing.draw_next(holder.claimant([job.queue], Scope(job_ids=(job_id,))))
    if outcome is None or outcome.state is JobState.CANCELED:
        return None
    return outcome.error
