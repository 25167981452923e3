"""Giving back what a process still holds when it stops."""

from __future__ import annotations

import logging

from imagen.domain.job import JobState
from imagen.errors import LeaseLost, LedgerError
from imagen.ledger.jobs.fenced_writes import give_back
from imagen.ledger.store.engine import Ledger
from imagen.services.leases.heartbeat import Heartbeat

log = logging.getLogger(__name__)


def give_back_all(ledger: Ledger, heartbeat: Heartbeat) -> None:
    """Return every running job to the queue with its external id, no crash counted.

    The backend goes on working; the next claim resumes it there. What cannot be given back now is
    left to its lease.
    """
    for lease in heartbeat.held():
        if lease.claim.job.state is not JobState.RUNNING:
            continue
        try:
            give_back(ledger, lease.claim)
        except LeaseLost:
            continue
        except LedgerError as error:
            log.warning("lease_not_given_back", extra={"why": str(error)})
