"""The live workers, and the backends that they cannot reach, as every door tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imagen.ledger.jobs.worker_rows import OpenCircuit, Worker, live_workers
from imagen.ledger.store.engine import Ledger


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker process as it last reported itself."""

    worker: Worker

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        worker = self.worker
        return {
            "owner": worker.owner,
            "host": worker.host,
            "role": worker.role,
            "queues": list(worker.queues),
            "backends": list(worker.backends),
            "model": worker.model,
            "started_at": worker.started_at.isoformat(),
            "seen_s": round(worker.seen_s, 1),
            "open_circuits": [
                {"backend": each.backend, "since": each.since.isoformat(), "why": each.why}
                for each in worker.open_circuits
            ],
        }

    def outages(self) -> list[str]:
        """A sentence for each backend that it cannot reach."""
        return [
            f"cannot use {each.backend} since {_local_time(each)}: {each.why}"
            for each in self.worker.open_circuits
        ]


def view_workers(ledger: Ledger, *, within_s: float) -> list[WorkerView]:
    """The workers that reported themselves in the last ``within_s`` seconds, by role and host.

    Raises:
        LedgerError: the ledger cannot be used.
    """
    return [WorkerView(worker) for worker in live_workers(ledger, within_s=within_s)]


def has_results_worker(ledger: Ledger, host: str, *, within_s: float) -> bool:
    """Whether a results worker of ``host`` reported itself in the last ``within_s`` seconds.

    Raises:
        LedgerError: the ledger cannot be used.
    """
    workers = live_workers(ledger, within_s=within_s)
    return any(each.role == "results" and each.host == host for each in workers)


def describe_outages(ledger: Ledger, *, within_s: float) -> dict[str, list[str]]:
    """A sentence for each live worker that cannot reach a backend, by backend.

    Raises:
        LedgerError: the ledger cannot be used.
    """
    found: dict[str, list[str]] = {}
    for worker in live_workers(ledger, within_s=within_s):
        for circuit in worker.open_circuits:
            found.setdefault(circuit.backend, []).append(
                f"the {worker.role} worker on {worker.host} cannot use it"
                f" since {_local_time(circuit)}: {circuit.why}"
            )
    return found


def _local_time(circuit: OpenCircuit) -> str:
    return circuit.since.astimezone().strftime("%H:%M:%S")
