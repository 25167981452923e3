"""What cancels jobs: workers where there is a broker, else this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from imagen.ledger.store.engine import Ledger
from imagen.services.control.cancel import Canceler, LocalCanceler, WorkerCanceler
from imagen.wiring.parts import (
    held_lock,
    make_draw_service,
    make_reconciler,
    opened_registry,
    started_heartbeat,
)
from imagen.wiring.process import Process


@contextmanager
def opened_canceler(process: Process, ledger: Ledger) -> Iterator[Canceler]:
    """Cancels jobs for a command.

    Raises:
        ConfigError: the ledger is a SQLite file and the broker is on another host.
    """
    if process.has_broker:
        from imagen.wiring.queue_parts import make_queue_publisher

        yield WorkerCanceler(ledger, make_queue_publisher(process, ledger))
        return
    from imagen.local.local_publisher import LocalPublisher

    with (
        opened_registry(process, ledger) as registry,
        held_lock(process, outbox=ledger) as lock,
        started_heartbeat(process, ledger, lock) as heartbeat,
    ):
        yield LocalCanceler(
            ledger,
            make_draw_service(process, ledger, registry, heartbeat, LocalPublisher()),
            make_reconciler(process, ledger),
            process.holder,
        )
