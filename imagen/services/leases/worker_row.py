"""The row in which a worker process reports itself, for commands that wait and submit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from imagen.errors import LedgerError
from imagen.ledger.jobs.worker_rows import OpenCircuit, report_worker, sign_off_worker
from imagen.ledger.store.engine import Ledger
from imagen.services.leases.lease_holder import LeaseHolder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerRow:
    """One worker's row; the fields are what does not change while it runs."""

    ledger: Ledger
    holder: LeaseHolder
    role: str
    queues: Sequence[str]
    backends: Sequence[str]
    #: Where it delivers; None for a worker that only draws, or may write anywhere.
    allowed_dirs: Sequence[str] | None = None

    def report(self, circuits: Sequence[OpenCircuit] = (), *, model: str | None = None) -> None:
        """Say that this process runs, which model it has loaded and what it cannot reach.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        report_worker(
            self.ledger,
            self.holder.owner,
            host=self.holder.host,
            role=self.role,
            queues=self.queues,
            backends=self.backends,
            model=model,
            allowed_dirs=self.allowed_dirs,
            open_circuits=circuits,
        )

    def remove(self) -> None:
        """This process ends. What cannot be written now is left to the row's age."""
        try:
            sign_off_worker(self.ledger, self.holder.owner)
        except LedgerError as error:
            log.warning("worker_not_signed_off", extra={"why": str(error)})
