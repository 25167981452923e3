"""Ends canceled jobs that no living process holds: their backends are told from here."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

from imagen.domain.job import JobState
from imagen.domain.scope import Scope
from imagen.errors import ImagenError
from imagen.ledger.jobs.claim import Claimant
from imagen.ledger.jobs.control import request_cancel
from imagen.ledger.queries.jobs import get_job
from imagen.ledger.store.engine import Ledger
from imagen.services.draw.draw import DrawService
from imagen.services.leases.reconcile import Reconciler

#: A backend may take some 10 s to stop.
_AT_ONCE = 8


@dataclass(frozen=True)
class Canceler:
    """What canceling needs where no worker does it."""

    ledger: Ledger
    drawing: DrawService
    reconciler: Reconciler
    owner: str
    host: str
    lease_s: float

    def cancel(self, scope: Scope) -> tuple[dict[UUID, JobState], dict[UUID, ImagenError]]:
        """Cancel the unfinished jobs of ``scope``: what each is now, and why some are not canceled.

        A job that a backend has and no process holds is canceled there, by the id on record, and
        ends; its cost is recorded. One that a living process holds ends as soon as that process
        hears of it.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        # What a process of this host held when it was killed is held by none any more.
        self.reconciler.tick()
        self.reconciler.leave()
        states = request_cancel(self.ledger, scope)
        errors: dict[UUID, ImagenError] = {}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for job_id, error in pool.map(self._cancel_one, _waiting(states)):
                if error is not None:
                    errors[job_id] = error
                job = get_job(self.ledger, job_id)
                states[job_id] = job.state if job else states[job_id]
        return states, errors

    def _cancel_one(self, job_id: UUID) -> tuple[UUID, ImagenError | None]:
        """Cancel it at its backend and end it; the error is why it has not ended."""
        job = get_job(self.ledger, job_id)
        # What another host has sent may be at a server that only it reaches.
        if job is None or job.delivery_host != self.host:
            return job_id, None
        try:
            self.drawing.backends.get(job.backend)
        except ImagenError as error:
            return job_id, error
        # Claimed like any other: with its mark set it is not drawn but canceled.
        claimant = Claimant(self.owner, [job.queue], self.lease_s, Scope(job_ids=(job_id,)))
        outcome = self.drawing.draw_next(claimant)
        if outcome is None or outcome.state is JobState.CANCELED:
            return job_id, None
        return job_id, outcome.error


def _waiting(states: Mapping[UUID, JobState]) -> list[UUID]:
    return [job_id for job_id, state in states.items() if state is JobState.QUEUED]
