"""What the live workers say of backends that they cannot reach, for people."""

from __future__ import annotations

from collections.abc import Sequence

from imagen.ledger.jobs.worker_rows import OpenCircuit, Worker, live_workers
from imagen.ledger.store.engine import Ledger


def describe_outages(ledger: Ledger, *, within_s: float) -> dict[str, list[str]]:
    """A sentence for each live worker that cannot reach a backend, by backend.

    Raises:
        LedgerError: the ledger cannot be used.
    """
    return outages_among(live_workers(ledger, within_s=within_s))


def outages_among(workers: Sequence[Worker]) -> dict[str, list[str]]:
    """The same of these workers."""
    found: dict[str, list[str]] = {}
    for worker in workers:
        for circuit in worker.open_circuits:
            found.setdefault(circuit.backend, []).append(_sentence(worker, circuit))
    return found


def _sentence(worker: Worker, circuit: OpenCircuit) -> str:
    since = circuit.since.astimezone().strftime("%H:%M:%S")
    return f"the {worker.role} worker on {worker.host} cannot use it since {since}: {circuit.why}"
