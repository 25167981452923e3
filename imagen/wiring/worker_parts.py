"""The parts of a worker of a queue, from its claims to its report in the workers table.

Imports Celery and Pillow, which a command that only submits has no use for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event

from imagen.backends.registry import Registry
from imagen.errors import ConfigError
from imagen.ledger.store.engine import Ledger
from imagen.queue.publish.cancel_events import CancelListener
from imagen.queue.publish.coalescing_publisher import CoalescingPublisher
from imagen.queue.publish.publisher import CeleryPublisher
from imagen.queue.worker.consumption import ReachableQueues
from imagen.queue.worker.host_drains import DeliveryDrain, OutboxDrain
from imagen.queue.worker.queue_worker import GracefulStop, QueueWorker
from imagen.queue.worker.wakeup_drawing import WakeupDrawing
from imagen.services.deliver.host_delivery import HostDelivery
from imagen.services.leases.heartbeat import Heartbeat, give_back_all
from imagen.services.leases.lock_sweep import LockSweep
from imagen.services.leases.worker_row import WorkerRow
from imagen.wiring.drawing_parts import make_delivery, make_draw_service, make_heartbeat
from imagen.wiring.parts import held_lock, queues_of_role
from imagen.wiring.process import Process
from imagen.wiring.queue_parts import make_maintenance
from imagen.wiring.supabase import make_outbox_sender


@contextmanager
def running_queue_worker(
    process: Process, ledger: Ledger, registry: Registry, publisher: CeleryPublisher, role: str
) -> Iterator[QueueWorker]:
    """This process as a worker of ``role``, from its report to its sign-off.

    To be entered after every fork. At the end what still runs is given back to the queue.

    Raises:
        LedgerUnavailable: the ledger is away.
    """
    does_draw, does_deliver = role != "results", role == "results"
    # A GPU host may be a rented one, whose rights in the ledger do not go that far.
    reconciles = role != "gpu"
    stopping = Event()
    with ExitStack() as stack:
        stack.enter_context(held_lock(process, outbox=ledger if does_deliver else None))
        heartbeat = make_heartbeat(process, ledger)
        worker = _make_worker(process, ledger, registry, publisher, heartbeat, role, stopping)
        drawing, circuits = worker.drawing, worker.queues.circuits
        row = _make_row(process, ledger, worker, role)
        sweep = LockSweep(ledger, process.lock_folder, process.clock)

        def report() -> None:
            row.report(circuits.all_open(), model=drawing.drawing.loaded.name)

        def on_beat() -> None:
            report()
            if does_draw:
                drawing.look_for_full_hosts()
            if not reconciles:
                sweep.run()

        def on_circuits() -> None:
            worker.queues.consume_reachable()
            report()

        stack.callback(row.remove)
        on_beat()
        heartbeat.on_beat = on_beat
        heartbeat.start()
        stack.callback(give_back_all, ledger, heartbeat)
        stack.callback(heartbeat.stop)
        if does_draw:
            circuits.on_change = on_circuits
            circuits.on_look = worker.queues.consume_reachable
            circuits.start()
            stack.callback(circuits.stop)
            cancels = CancelListener(publisher.client, heartbeat.beat)
            cancels.start()
            stack.callback(cancels.stop)
        if reconciles:
            maintenance = make_maintenance(process, ledger, publisher)
            maintenance.start()
            stack.callback(maintenance.stop)
        stack.callback(stopping.set)
        yield worker


def _make_worker(
    process: Process,
    ledger: Ledger,
    registry: Registry,
    publisher: CeleryPublisher,
    heartbeat: Heartbeat,
    role: str,
    stopping: Event,
) -> QueueWorker:
    drawing = make_draw_service(
        process, ledger, registry, heartbeat, CoalescingPublisher(publisher)
    )
    delivery = make_delivery(
        process, ledger, heartbeat, publisher, allowed_dirs=process.worker_allowed_dirs
    )
    queues = queues_of_role(process, role)
    queue_of = {name: _queue_of(registry, name) for name in registry.names()}
    served = {name: queue for name, queue in queue_of.items() if queue and queue in queues}
    return QueueWorker(
        ledger,
        publisher.ledger_id,
        WakeupDrawing(
            drawing,
            process.holder,
            queues,
            list(served),
            publisher,
            process.clock,
            process.config.artifacts.max_bytes,
            stopping,
        ),
        DeliveryDrain(
            HostDelivery(delivery, process.holder), publisher, publisher.client, stopping
        ),
        OutboxDrain(
            make_outbox_sender(process, ledger) if role == "results" else None,
            process.host,
            publisher.client,
            stopping,
        ),
        ReachableQueues(queues, served, drawing.circuits, ledger),
        GracefulStop(heartbeat, process.config.workers.grace_s, stopping),
    )


def _make_row(process: Process, ledger: Ledger, worker: QueueWorker, role: str) -> WorkerRow:
    folders = None
    if role == "results":
        folders = [str(folder.absolute()) for folder in process.worker_allowed_dirs]
    queues, backends = worker.drawing.queues, worker.drawing.backends
    return WorkerRow(ledger, process.holder, role, queues, backends, folders)


def _queue_of(registry: Registry, backend: str) -> str | None:
    """The queue of a backend; None where its adapter is missing or broken here."""
    try:
        return registry.queue_of(backend)
    except ConfigError:
        return None
