"""A worker without a broker: it draws and delivers what waits in the ledger of its host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from imagen.backends.registry import Registry
from imagen.ledger.store.engine import Ledger
from imagen.services.leases.worker_row import WorkerRow
from imagen.wiring.executors import local_executor
from imagen.wiring.parts import held_lock, queues_of_role
from imagen.wiring.process import Process

if TYPE_CHECKING:
    from imagen.local.local_executor import LocalExecutor


def worker_threads(process: Process, role: str | None, concurrency: int | None) -> dict[str, int]:
    """Drawing threads by queue: all queues without a role, none for one that only delivers."""
    if role == "results":
        return {}
    usual = process.threads_by_queue
    queues = list(usual) if role is None else queues_of_role(process, role)
    return {queue: concurrency or usual.get(queue, 2) for queue in queues}


@contextmanager
def local_worker(
    process: Process,
    ledger: Ledger,
    registry: Registry,
    *,
    role: str | None,
    threads: Mapping[str, int],
) -> Iterator[Callable[[], AbstractContextManager[LocalExecutor]]]:
    """Reports this process as a worker until the end; yields what makes an executor for one run.

    Raises:
        ConfigError: nothing can be written to the state folder.
        LedgerUnavailable: the ledger is away.
    """
    row = WorkerRow(ledger, process.holder, role or "all", sorted(threads), registry.names())
    with held_lock(process, outbox=ledger) as lock:
        row.report()
        try:
            yield lambda: local_executor(
                process,
                ledger,
                registry,
                lock,
                threads=threads,
                on_beat=lambda circuits: row.report(circuits.all_open()),
            )
        finally:
            row.remove()
