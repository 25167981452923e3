"""One worker process as its Celery tasks and Celery's signals see it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from imagen.domain.job import Job
from imagen.errors import LedgerMismatch
from imagen.ledger.queries.jobs import get_job
from imagen.ledger.store.engine import Ledger
from imagen.queue.worker.consumption import ReachableQueues
from imagen.queue.worker.host_drains import DeliveryDrain, OutboxDrain
from imagen.queue.worker.wakeup_drawing import WakeupDrawing
from imagen.services.leases.heartbeat import Heartbeat

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GracefulStop:
    """Ends the process once what runs is finished, or the grace is over."""

    heartbeat: Heartbeat
    grace_s: float
    stopping: threading.Event

    def begin(self, leave: Callable[[], None]) -> None:
        """Claim nothing more; when the grace is over, call ``leave`` and end the process."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        log.info("worker_stopping", extra={"held": len(self.heartbeat.held())})
        timer = threading.Timer(self.grace_s, self._leave_now, [leave])
        timer.daemon = True
        timer.start()

    def _leave_now(self, leave: Callable[[], None]) -> None:
        # Threads that block in a backend cannot be ended; their jobs go on there, and the next
        # claim resumes them by the id that is in the ledger.
        log.warning("grace_over", extra={"held": len(self.heartbeat.held())})
        leave()
        os._exit(0)


@dataclass(frozen=True)
class QueueWorker:
    """The parts of a worker of one role, one for each task and each signal."""

    ledger: Ledger
    ledger_id: UUID
    drawing: WakeupDrawing
    deliveries: DeliveryDrain
    outbox: OutboxDrain
    queues: ReachableQueues
    stop: GracefulStop

    def job(self, job_id: UUID) -> Job | None:
        """The job that a wake-up was sent for, or None when the ledger has none of that id."""
        return get_job(self.ledger, job_id)

    def check_ledger(self, named: str | None) -> None:
        """Refuse a message whose job is in another ledger.

        Raises:
            LedgerMismatch: it names another ledger than this worker's.
        """
        if named is not None and named != str(self.ledger_id):
            raise LedgerMismatch(
                f"the message names ledger {named}, but this worker is on {self.ledger_id} "
                f"at {self.ledger.address}",
                "point this worker's database.url at the ledger that the jobs were submitted to",
            )
