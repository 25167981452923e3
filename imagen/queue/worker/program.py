"""How a worker program runs: the checks before it starts, and what Celery's signals do.

`imagen worker gpu`, `python -m workers.gpu` and `celery -A workers.gpu worker` all come here.
"""

from __future__ import annotations

import json
import logging
import socket
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any
from uuid import UUID

import redis
from celery import Celery, signals
from celery.concurrency.thread import TaskPool

from imagen.errors import ConfigError, LedgerMismatch
from imagen.ledger.store.engine import Ledger
from imagen.queue.broker.app import serve
from imagen.queue.broker.connection import is_loopback, shown_url
from imagen.queue.broker.routing import LEDGER_HEADER, queue_key
from imagen.queue.worker.consumption import Consumption
from imagen.queue.worker.tasks import add_tasks

if TYPE_CHECKING:
    from imagen.queue.worker.queue_worker import QueueWorker

_FLUSH_EVENTS_S = 0.25


def refuse_remote_sqlite(ledger: Ledger, broker_url: str) -> None:
    """Raises ConfigError where other hosts can reach the broker but not the ledger."""
    if ledger.kind == "sqlite" and not is_loopback(broker_url):
        raise ConfigError(
            f"the broker {shown_url(broker_url)} is on another host, but the ledger is the SQLite "
            f"file {ledger.address}",
            "set database.url (IMAGEN_DATABASE_URL) to a PostgreSQL that all hosts reach",
        )


def refuse_foreign_messages(
    client: redis.Redis, broker_url: str, queues: Sequence[str], ledger_id: UUID, address: str
) -> None:
    """Raises LedgerMismatch when the next message of a queue names another ledger.

    Nothing is checked while Redis is away: Celery waits for it.
    """
    for queue in queues:
        try:
            # Workers take messages from the right end.
            message = client.lindex(queue_key(queue), -1)
        except redis.RedisError:
            return
        named = _ledger_named_in(message)
        if named is not None and named != str(ledger_id):
            raise LedgerMismatch(
                f"the messages in queue {queue!r} at {shown_url(broker_url)} name ledger {named}, "
                f"but {address} is ledger {ledger_id}",
                "set database.url to the ledger that the jobs were submitted to",
            )


def _ledger_named_in(message: Any) -> str | None:
    if not message:
        return None
    try:
        named = json.loads(message)["headers"].get(LEDGER_HEADER)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return None if named is None else str(named)


def attach(
    app: Celery,
    running: Callable[[], AbstractContextManager[QueueWorker]],
    *,
    queues: list[str],
    concurrency: int,
) -> None:
    """Make ``app`` a worker program: its queues, its tasks, and its start and end.

    ``running`` is entered once Celery has read its own options: engines and threads are made after
    every fork. When it raises, the process ends. It is left when the process stops.
    """
    serve(app, queues, concurrency=concurrency)
    stack = ExitStack()
    started: list[QueueWorker] = []
    add_tasks(app, lambda: started[0])

    def check_pool(options: dict[str, Any], **_: Any) -> None:
        # Celery's own default, prefork, is not named here: our setting replaces it.
        pool = options.get("pool")
        if pool is not None and pool is not TaskPool:
            raise SystemExit(
                f"imagen: the pool {pool.__module__.rpartition('.')[2]!r} loses jobs when it is"
                " stopped; leave --pool out, or use threads"
            )

    def send_events_seldom(sender: Any, **_: Any) -> None:
        # Celery sends the events of tasks after each round of its loop, which takes two fifths of
        # the consuming thread's time (measured). Here they are sent four times a second.
        dispatcher, hub = sender.event_dispatcher, sender.hub
        if hub is not None and dispatcher is not None and dispatcher.on_send_buffered is not None:
            dispatcher.on_send_buffered = None
            hub.call_repeatedly(_FLUSH_EVENTS_S, sender._flush_events)

    def let_consume(sender: Any, **_: Any) -> None:
        for worker in started:
            worker.queues.consume = Consumption(sender, worker.queues.names).limit_to
            worker.queues.consume_reachable()

    def begin(**_: Any) -> None:
        try:
            started.append(stack.enter_context(running()))
        except Exception as error:
            # Celery would go on: with a worker that draws but lets its leases run out.
            traceback.print_exc()
            raise SystemExit(1) from error

    def begin_stop(**_: Any) -> None:
        for worker in started:
            worker.stop.begin(stack.close)

    def end(**_: Any) -> None:
        stack.close()

    signals.celeryd_init.connect(check_pool, weak=False)
    signals.worker_ready.connect(send_events_seldom, weak=False)
    signals.worker_ready.connect(let_consume, weak=False)
    signals.worker_init.connect(begin, weak=False)
    signals.worker_shutting_down.connect(begin_stop, weak=False)
    signals.worker_shutdown.connect(end, weak=False)


def run(app: Celery, role: str, *, concurrency: int | None = None, token: str = "") -> None:
    """Run the worker until it is told to stop; does not return before that.

    Raises:
        SystemExit: with a status other than 0, because it ended without having been told to.
    """
    # It logs each message as received; the log line of the job claimed for it says more.
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    arguments = [
        "worker",
        "--loglevel=INFO",
        # Two workers of a role on one host need names of their own.
        f"--hostname={role}-{token}@{socket.gethostname()}",
        # They take a second at start and send messages that nothing here uses.
        "--without-mingle",
        "--without-gossip",
    ]
    if concurrency is not None:
        arguments.append(f"--concurrency={concurrency}")
    programs: list[Any] = []

    def keep(sender: Any, **_: Any) -> None:
        programs.append(sender)

    signals.worker_init.connect(keep, weak=False)
    app.worker_main(arguments)
    # worker_main returns no status: a service manager would take every end for a success.
    status = programs[0].exitcode if programs else None
    if status != 0:
        raise SystemExit(status or 1)
