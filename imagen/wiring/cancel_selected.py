"""Cancels jobs: through workers where there is a broker, else in this process."""

from __future__ import annotations

from imagen.ledger.store.engine import Ledger
from imagen.services.control.cancel_jobs import cancel_by_workers, cancel_here
from imagen.services.control.job_changes import JobChanges
from imagen.services.control.select_jobs import SelectedJobs
from imagen.wiring.drawing_parts import make_draw_service, make_reconciler, started_heartbeat
from imagen.wiring.parts import held_lock, opened_registry
from imagen.wiring.process import Process


def cancel_selected(process: Process, ledger: Ledger, selected: SelectedJobs) -> JobChanges:
    """Cancel the selected jobs that are not done yet; see ``imagen.services.control.cancel_jobs``.

    Raises:
        ConfigError: the ledger is a SQLite file and the broker is on another host.
    """
    if process.has_broker:
        from imagen.wiring.queue_parts import make_queue_publisher

        return cancel_by_workers(ledger, make_queue_publisher(process, ledger), selected)
    from imagen.local.local_publisher import LocalPublisher

    with (
        opened_registry(process, ledger) as registry,
        held_lock(process, outbox=ledger) as lock,
        started_heartbeat(process, ledger, lock) as heartbeat,
    ):
        drawing = make_draw_service(process, ledger, registry, heartbeat, LocalPublisher())
        reconciler = make_reconciler(process, ledger)
        return cancel_here(ledger, drawing, reconciler, process.holder, selected)
