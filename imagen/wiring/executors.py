"""What gets the jobs of a command drawn: this process, or workers that it waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from imagen.backends.registry import Registry
from imagen.domain.scope import Scope
from imagen.ledger.store.engine import Ledger
from imagen.services.draw.circuit import Circuits
from imagen.services.leases.process_lock import ProcessLock
from imagen.wiring.drawing_parts import (
    make_delivery,
    make_draw_service,
    make_reconciler,
    started_heartbeat,
)
from imagen.wiring.process import Process
from imagen.wiring.supabase import make_outbox_sender

if TYPE_CHECKING:
    from imagen.local.local_executor import LocalExecutor
    from imagen.queue.wait.queue_executor import QueueExecutor
    from imagen.services.draw.job_listener import JobListener


class Executor(Protocol):
    """Gets the jobs of a scope drawn, in this process or by workers."""

    def run(self, scope: Scope, *, timeout_s: float | None = None) -> bool:
        """Block until nothing of ``scope`` is unfinished; says whether that is so.

        Ends early, with False, when ``stop`` was called or ``timeout_s`` seconds are over.

        Raises:
            ImagenError: nothing more can be drawn now; the jobs wait.
        """

    def stop(self, *, grace_s: float = 0.0) -> None:
        """End the run soon; unfinished jobs stay in the ledger. Safe in a signal handler."""


@contextmanager
def command_executor(
    process: Process,
    ledger: Ledger,
    registry: Registry,
    lock: ProcessLock,
    *,
    listener: JobListener,
    max_attempts: int | None = None,
) -> Iterator[Executor]:
    """What a command gets its jobs drawn by: workers where there is a broker, else itself.

    ``max_attempts`` is for what is drawn here.

    Raises:
        ConfigError: the ledger is a SQLite file and the broker is on another host.
    """
    if process.has_broker:
        with queue_executor(process, ledger, lock, listener=listener) as waiting:
            yield waiting
    else:
        with local_executor(
            process, ledger, registry, lock, listener=listener, max_attempts=max_attempts
        ) as drawing:
            yield drawing


@contextmanager
def local_executor(
    process: Process,
    ledger: Ledger,
    registry: Registry,
    lock: ProcessLock,
    *,
    listener: JobListener | None = None,
    max_attempts: int | None = None,
    threads: Mapping[str, int] | None = None,
    on_beat: Callable[[Circuits], None] | None = None,
) -> Iterator[LocalExecutor]:
    """Draws and delivers in this process.

    ``threads`` are the drawing threads by queue, where not as configured. ``on_beat`` is called
    with each heartbeat.
    """
    from imagen.local.local_executor import LocalExecutor
    from imagen.local.local_publisher import LocalPublisher
    from imagen.local.thread_work import DeliverWork, DrawWork, SendWork
    from imagen.local.upkeep import LocalUpkeep
    from imagen.services.deliver.host_delivery import HostDelivery
    from imagen.services.draw.isolation import IsolatedDrawing

    settings, holder = process.config, process.holder
    threads_by_queue = process.threads_by_queue if threads is None else threads
    publisher = LocalPublisher(listener)
    with started_heartbeat(process, ledger, lock) as heartbeat:
        drawing = make_draw_service(
            process, ledger, registry, heartbeat, publisher, max_attempts=max_attempts
        )
        if on_beat is not None:
            heartbeat.on_beat = lambda: on_beat(drawing.circuits)
        # Embedded, the user delivers their own files: any path, but where the configuration names
        # folders.
        delivery = make_delivery(
            process, ledger, heartbeat, publisher, allowed_dirs=process.own_allowed_dirs
        )
        sync = make_outbox_sender(process, ledger) if process.has_supabase else None
        draw_work = DrawWork(IsolatedDrawing(drawing), holder, publisher)
        yield LocalExecutor(
            ledger,
            process.clock,
            publisher,
            heartbeat,
            drawing.circuits,
            LocalUpkeep(
                make_reconciler(process, ledger),
                draw_work,
                list(threads_by_queue),
                settings.artifacts.max_bytes,
                process.clock,
            ),
            threads_by_queue,
            draw_work,
            DeliverWork(HostDelivery(delivery, holder), publisher),
            SendWork(sync, publisher) if sync is not None else None,
            unavailable_patience_s=settings.workers.unavailable_patience_s,
        )


@contextmanager
def queue_executor(
    process: Process, ledger: Ledger, lock: ProcessLock, *, listener: JobListener | None = None
) -> Iterator[QueueExecutor]:
    """Waits for jobs that workers draw.

    Raises:
        ConfigError: the ledger is a SQLite file and the broker is on another host.
    """
    from imagen.queue.wait.queue_executor import QueueExecutor
    from imagen.queue.wait.worker_watch import WorkerWatch
    from imagen.services.deliver.host_delivery import HostDelivery
    from imagen.wiring.queue_parts import make_maintenance, make_queue_publisher

    publisher = make_queue_publisher(process, ledger)
    with started_heartbeat(process, ledger, lock) as heartbeat:
        delivery = make_delivery(
            process, ledger, heartbeat, publisher, allowed_dirs=process.own_allowed_dirs
        )
        yield QueueExecutor(
            ledger,
            process.clock,
            publisher.client,
            make_maintenance(process, ledger, publisher),
            HostDelivery(delivery, process.holder),
            WorkerWatch(ledger, process.config.workers.lease_s, process.lock_folder),
            listener,
        )
