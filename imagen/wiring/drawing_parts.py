"""The parts of programs that draw, deliver or cancel jobs, each made of the parts that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.backends.registry import Registry
from imagen.domain.protocols import Publisher
from imagen.ledger.store.engine import Ledger
from imagen.services.draw.circuit import Circuits
from imagen.services.draw.draw import DrawService
from imagen.services.draw.retry_policy import RetryPolicy
from imagen.services.leases.heartbeat import Heartbeat
from imagen.services.leases.process_lock import ProcessLock
from imagen.services.leases.reconcile import Reconciler
from imagen.wiring.process import Process

if TYPE_CHECKING:
    from imagen.services.deliver.deliver import DeliveryService


@contextmanager
def started_heartbeat(process: Process, ledger: Ledger, lock: ProcessLock) -> Iterator[Heartbeat]:  # noqa: ARG001  (leases are taken only while it is held)
    """The heartbeat of a command; leases that are still held at the end run out."""
    heartbeat = make_heartbeat(process, ledger)
    heartbeat.start()
    try:
        yield heartbeat
    finally:
        heartbeat.stop()


def make_heartbeat(process: Process, ledger: Ledger) -> Heartbeat:
    """A heartbeat that is not started yet."""
    workers = process.config.workers
    return Heartbeat(
        ledger, process.owner, workers.lease_s, workers.heartbeat_every_s, process.clock
    )


def make_draw_service(
    process: Process,
    ledger: Ledger,
    registry: Registry,
    heartbeat: Heartbeat,
    publisher: Publisher,
    *,
    max_attempts: int | None = None,
) -> DrawService:
    """Claims and draws jobs. ``max_attempts`` is for a command that its user is waiting for."""
    workers = process.config.workers
    policy = RetryPolicy(
        max_attempts=max_attempts or workers.max_attempts,
        backoff_base_s=workers.backoff_base_s,
        backoff_max_s=workers.backoff_max_s,
        rate_limit_patience_s=workers.rate_limit_patience_s,
        waits_for_backends=max_attempts is None,
    )
    return DrawService(
        ledger,
        registry,
        heartbeat,
        publisher,
        process.clock,
        policy,
        Circuits(registry.get, process.clock, check_s=workers.check_s),
        sends_usage=process.sends_usage,
    )


def make_delivery(
    process: Process,
    ledger: Ledger,
    heartbeat: Heartbeat,
    publisher: Publisher,
    *,
    allowed_dirs: list[Path] | None,
) -> DeliveryService:
    """Writes the files of generated jobs, below ``allowed_dirs`` only where there are any."""
    # Brings Pillow and every image format, which a command that only submits has no use for.
    from imagen.services.deliver.deliver import DeliveryService
    from imagen.services.deliver.full_disks import FullDisks

    return DeliveryService(
        ledger,
        heartbeat,
        publisher,
        process.clock,
        allowed_dirs=allowed_dirs,
        sends_usage=process.sends_usage,
        has_cloud=process.has_supabase,
        full_disks=FullDisks(process.config.results.disk_patience_s),
    )


def make_reconciler(process: Process, ledger: Ledger) -> Reconciler:
    """Takes back what dead processes held, one process at a time."""
    workers = process.config.workers
    return Reconciler(
        ledger,
        process.owner,
        process.clock,
        workers.max_crashes,
        process.lock_folder,
        workers.lease_s,
    )
