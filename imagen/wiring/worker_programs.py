"""Worker programs: wired, checked, and refused with one clear line where they must not start."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from imagen.domain.printable import printable
from imagen.errors import ConfigError, ImagenError
from imagen.queue.worker.program import attach, refuse_foreign_messages, run
from imagen.wiring.bootstrap import Imagen, open_imagen

if TYPE_CHECKING:
    from celery import Celery

    from imagen.queue.worker.worker import QueueWorker

T = TypeVar("T")


@dataclass(frozen=True)
class WorkerProgram:
    """A worker that is ready to run: what `celery -A` finds as ``app``, and how it is run."""

    app: Celery
    role: str
    settings: Imagen

    def run(self, *, concurrency: int | None = None) -> None:
        """Work until told to stop."""
        run(self.app, self.role, concurrency=concurrency, token=secrets.token_hex(2))


def worker_program(role: str, *, explicit_config: str | None = None) -> WorkerProgram:
    """The worker program of ``role``, checked: the ledger answers, and is the messages' own.

    Ends the process with one line on stderr when it must not start.
    """
    return _or_end(lambda: _worker_program(open_imagen(explicit_config, os.environ), role))


def _or_end(make: Callable[[], T]) -> T:
    """What ``make`` returns; where it refuses, the process ends with one line on stderr."""
    try:
        return make()
    except ImagenError as error:
        hint = f"\n  hint: {error.hint}" if error.hint else ""
        print(printable(f"imagen: {error.message}{hint}"), file=sys.stderr)  # noqa: T201
        raise SystemExit(error.exit_code) from error


def _worker_program(imagen: Imagen, role: str) -> WorkerProgram:
    if not imagen.has_broker:
        raise ConfigError(
            f"the {role} worker needs a broker",
            "set IMAGEN_BROKER_URL=redis://…, or run: imagen worker (which works without one)",
        )
    publisher = imagen.queue_publisher
    queues = imagen.queues_of_role(role)
    address = imagen.ledger.address
    refuse_foreign_messages(
        publisher.client, publisher.broker_url, queues, publisher.ledger_id, address
    )
    # What was opened for the checks belongs to this process; Celery may fork before it works.
    imagen.ledger.disconnect()
    concurrency = getattr(imagen.config.workers.concurrency, role)

    def start() -> QueueWorker:
        worker = imagen.queue_worker(role)
        worker.start()
        return worker

    # The ledger may have gone since it was looked at.
    attach(publisher.app, lambda: _or_end(start), queues=queues, concurrency=concurrency)
    return WorkerProgram(publisher.app, role, imagen)
