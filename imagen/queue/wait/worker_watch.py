"""Which workers are alive, as far as a waiting command can know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imagen.domain.job import JobState
from imagen.domain.scope import Scope
from imagen.ledger.jobs.worker_rows import Worker, live_workers, unreachable_backends
from imagen.ledger.queries.unfinished_jobs import queues_of
from imagen.ledger.store.engine import Ledger
from imagen.services.leases import process_lock


@dataclass
class WorkerWatch:
    """Looks at the rows of workers, and at the lock files of those on this host."""

    ledger: Ledger
    lease_s: float
    lock_folder: Path
    _told: set[str] = field(default_factory=set)

    def alive(self) -> list[Worker]:
        """The workers that reported within a lease, except those of this host that have died."""
        reported = live_workers(self.ledger, within_s=self.lease_s)
        dead = process_lock.dead_among(self.lock_folder, [worker.owner for worker in reported])
        return [worker for worker in reported if worker.owner not in dead]

    def newly_missing(self, scope: Scope, alive: Sequence[Worker]) -> Iterator[str]:
        """The queues in which jobs of ``scope`` wait and that none of ``alive`` serves, each once
        in the life of this object."""
        served = {queue for worker in alive for queue in worker.queues}
        for queue in queues_of(self.ledger, scope, [JobState.QUEUED]):
            if queue not in served | self._told:
                self._told.add(queue)
                yield queue


def unreachable_reasons(alive: Sequence[Worker]) -> Mapping[str, str]:
    """Why backends cannot be reached by any of these workers, and from which host."""
    return {
        name: f"{circuit.why}, seen from {worker.host}"
        for name, (worker, circuit) in unreachable_backends(alive).items()
    }
