"""The parts of a queue that commands and workers share: what sends wake-ups, and what tops it up.

Imports Celery, so programs import it only once they know that there is a broker.
"""

from __future__ import annotations

from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.migrate import ledger_id
from imagen.queue.broker.app import make_app
from imagen.queue.broker.connection import connect
from imagen.queue.publish.publisher import CeleryPublisher
from imagen.queue.publish.queue_filler import QueueFiller
from imagen.queue.worker.maintenance import Maintenance
from imagen.queue.worker.program import refuse_remote_sqlite
from imagen.wiring.drawing_parts import make_reconciler
from imagen.wiring.process import Process


def make_queue_publisher(process: Process, ledger: Ledger) -> CeleryPublisher:
    """Sends this process's wake-ups; connects when the first one is sent.

    Raises:
        ConfigError: the ledger is a SQLite file and the broker is on another host.
    """
    url = process.config.queue.broker_url
    refuse_remote_sqlite(ledger, url)
    return CeleryPublisher(make_app(url), connect(url), url, ledger_id(ledger))


def make_maintenance(process: Process, ledger: Ledger, publisher: CeleryPublisher) -> Maintenance:
    """Reconciles and tops the queues up, one process at a time."""
    workers = process.config.workers
    filler = QueueFiller(ledger, publisher, process.config.queue.window, workers.lease_s)
    return Maintenance(make_reconciler(process, ledger), filler, workers.reconcile_s)
