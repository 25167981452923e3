"""The parts of a queue: what sends wake-ups, what tops queues up, and what works them off.

Imports Celery, so programs import it only once they know that there is a broker.
"""

from __future__ import annotations

from imagen.backends.installed import InstalledAdapters
from imagen.backends.registry import Registry
from imagen.errors import ConfigError
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.migrate import ledger_id
from imagen.queue.broker.app import make_app
from imagen.queue.broker.connection import connect
from imagen.queue.broker.routing import results_queue
from imagen.queue.publish.coalescing_publisher import CoalescingPublisher
from imagen.queue.publish.publisher import CeleryPublisher
from imagen.queue.publish.queue_filler import QueueFiller
from imagen.queue.worker.maintenance import Maintenance
from imagen.queue.worker.program import refuse_remote_sqlite
from imagen.queue.worker.worker import QueueWorker
from imagen.services.report.check_config import backend_specs
from imagen.wiring.parts import (
    make_delivery,
    make_draw_service,
    make_heartbeat,
    make_reconciler,
)
from imagen.wiring.process import Process
from imagen.wiring.supabase import make_sync


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
    filler = QueueFiller(
        ledger,
        publisher,
        publisher.client,
        publisher.broker_url,
        process.config.queue.window,
        workers.lease_s,
    )
    return Maintenance(make_reconciler(process, ledger), filler, workers.reconcile_s)


def queues_of_role(process: Process, role: str) -> list[str]:
    """The queues that workers of a role serve.

    ``gpu`` and ``cloud`` serve the queue of that name, and those of their own name that the
    configuration gives to backends whose adapter usually goes there.
    """
    if role == "results":
        return [results_queue(process.host)]
    adapters = InstalledAdapters()
    own = {
        spec.queue
        for spec in backend_specs(process.config, adapters)
        if spec.queue not in (None, "gpu", "cloud")
        and adapters.load(spec.type).default_queue == role
    }
    return [role, *sorted(str(queue) for queue in own)]


def make_queue_worker(
    process: Process, ledger: Ledger, registry: Registry, publisher: CeleryPublisher, role: str
) -> QueueWorker:
    """This process as a worker of ``role``; to be made after every fork."""
    coalescing = CoalescingPublisher(
        publisher.app, publisher.client, publisher.broker_url, publisher.ledger_id
    )
    heartbeat = make_heartbeat(process, ledger)
    queues = queues_of_role(process, role)
    queue_of = {name: _queue_of(registry, name) for name in registry.names()}
    served = {name: queue for name, queue in queue_of.items() if queue and queue in queues}
    workers = process.config.workers
    return QueueWorker(
        role=role,
        host=process.host,
        owner=process.owner,
        queues=queues,
        backends=list(served),
        queue_of=served,
        ledger=ledger,
        ledger_id=publisher.ledger_id,
        drawing=make_draw_service(process, ledger, registry, heartbeat, coalescing),
        delivery=make_delivery(
            process, ledger, heartbeat, publisher, allowed_dirs=process.worker_allowed_dirs
        ),
        heartbeat=heartbeat,
        clock=process.clock,
        client=publisher.client,
        publisher=publisher,
        presence_folder=process.lock_folder,
        lease_s=workers.lease_s,
        grace_s=workers.grace_s,
        max_artifact_bytes=process.config.artifacts.max_bytes,
        caretaker=None if role == "gpu" else make_maintenance(process, ledger, publisher),
        sync=make_sync(process, ledger) if role == "results" else None,
    )


def _queue_of(registry: Registry, backend: str) -> str | None:
    """The queue of a backend; None where its adapter is missing or broken here."""
    try:
        return registry.queue_of(backend)
    except ConfigError:
        return None
