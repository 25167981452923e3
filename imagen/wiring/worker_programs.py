"""Worker programs: wired, checked, and refused with one clear line where they must not start."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from imagen.domain.printable import printable
from imagen.errors import ConfigError, ImagenError
from imagen.wiring.parts import opened_ledger, opened_registry, queues_of_role
from imagen.wiring.process import Process, open_process

if TYPE_CHECKING:
    from celery import Celery

    from imagen.queue.worker.queue_worker import QueueWorker

T = TypeVar("T")


@dataclass(frozen=True)
class WorkerProgram:
    """A worker that is ready to run: what `celery -A` finds as ``app``, and how it is run."""

    app: Celery
    role: str

    def run(self, *, concurrency: int | None = None) -> None:
        """Work until told to stop."""
        from imagen.queue.worker.program import run

        run(self.app, self.role, concurrency=concurrency, token=secrets.token_hex(2))


def worker_program(role: str, *, explicit_config: str | None = None) -> WorkerProgram:
    """The worker program of ``role``, checked: the ledger answers, and is the messages' own.

    Ends the process with one line on stderr when it must not start.
    """
    return _or_end(lambda: _worker_program(open_process(explicit_config, os.environ), role))


def _or_end(make: Callable[[], T]) -> T:
    """What ``make`` returns; where it refuses, the process ends with one line on stderr."""
    try:
        return make()
    except ImagenError as error:
        hint = f"\n  hint: {error.hint}" if error.hint else ""
        print(printable(f"imagen: {error.message}{hint}"), file=sys.stderr)  # noqa: T201
        raise SystemExit(error.exit_code) from error


def _worker_program(process: Process, role: str) -> WorkerProgram:
    if not process.has_broker:
        raise ConfigError(
            f"the {role} worker needs a broker",
            "set IMAGEN_BROKER_URL=redis://…, or run: imagen worker (which works without one)",
        )
    from imagen.queue.worker.program import attach, refuse_foreign_messages
    from imagen.wiring.queue_parts import make_queue_publisher
    from imagen.wiring.worker_parts import running_queue_worker

    with opened_ledger(process) as ledger:
        publisher = make_queue_publisher(process, ledger)
        queues = queues_of_role(process, role)
        refuse_foreign_messages(
            publisher.client, publisher.broker_url, queues, publisher.ledger_id, ledger.address
        )

    # Open until the process ends: threads may outlive the worker's stop.
    stack = ExitStack()

    def begin() -> AbstractContextManager[QueueWorker]:
        # Opened here, not above: Celery may fork between the checks and the work.
        ledger = stack.enter_context(opened_ledger(process))
        registry = stack.enter_context(opened_registry(process, ledger))
        return running_queue_worker(process, ledger, registry, publisher, role)

    @contextmanager
    def running() -> Iterator[QueueWorker]:
        with ExitStack() as worker:
            # The ledger may have gone since it was looked at.
            yield _or_end(lambda: worker.enter_context(begin()))

    concurrency = getattr(process.config.workers.concurrency, role)
    attach(publisher.app, running, queues=queues, concurrency=concurrency)
    return WorkerProgram(publisher.app, role)
