"""The parts that every program is put together from, each made of the parts that it needs.

Those that have to be closed are context managers: the ``ExitStack`` or ``with`` block that opened
them closes them, the newest first. ``Ledger`` is named here for doors, which only hand it on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from imagen.backends.adapter import AdapterContext
from imagen.backends.installed import InstalledAdapters
from imagen.backends.registry import Registry
from imagen.domain.protocols import Limiter
from imagen.errors import LedgerError
from imagen.ledger.outbox.outbox import give_back_outgoing
from imagen.ledger.queries.history import AttemptHistory, NoHistory
from imagen.ledger.store.engine import Ledger as Ledger
from imagen.ledger.store.migrate import ensure_schema
from imagen.ledger.store.open_ledger import open_ledger
from imagen.services.leases.process_lock import ProcessLock, enter
from imagen.services.report.check_config import backend_specs
from imagen.services.submit.caller import resolve_caller
from imagen.services.submit.delivery_folders import (
    DeliveryFolders,
    delivery_folders,
    own_folders,
)
from imagen.services.submit.resolve import SubmitContext
from imagen.wiring.process import Process

log = logging.getLogger(__name__)


@contextmanager
def opened_ledger(process: Process) -> Iterator[Ledger]:
    """The ledger, with the schema that this program knows.

    Raises:
        LedgerError: it cannot be used as it is; the message says what to do.
    """
    with unchecked_ledger(process) as ledger:
        ensure_schema(ledger)
        yield ledger


@contextmanager
def unchecked_ledger(process: Process) -> Iterator[Ledger]:
    """The ledger as it is, whatever its schema."""
    ledger = open_ledger(
        process.config.database.url, default_path=process.state_folder / "ledger.db"
    )
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def opened_registry(process: Process, ledger: Ledger | None) -> Iterator[Registry]:
    """The configured backends; without a ledger they may be looked at, but none may draw."""
    history = AttemptHistory(ledger) if ledger is not None else NoHistory()
    limiter = _LazyLimiter(process.config.queue.broker_url)
    adapters = InstalledAdapters()
    context = AdapterContext(process.env, limiter, history, history)
    registry = Registry(backend_specs(process.config, adapters), context, adapters)
    try:
        yield registry
    finally:
        registry.close()


@contextmanager
def held_lock(process: Process, *, outbox: Ledger | None) -> Iterator[ProcessLock]:
    """This process's lock file, which tells the others of its host that it is alive.

    To be held around everything that takes leases. What the process still holds at the end in the
    outbox of the ledger ``outbox`` is given back, so that others can send it at once; None is for
    processes that send nothing.

    Raises:
        ConfigError: nothing can be written to the state folder.
    """
    lock = enter(process.lock_folder, process.owner)
    try:
        yield lock
    finally:
        if outbox is None or _give_back(process, outbox):
            lock.leave()


def _give_back(process: Process, ledger: Ledger) -> bool:
    """Give back what this process holds in the outbox; says whether it holds nothing any more.

    If not, the file stays. Its lock ends with this process, and then others give back what it held;
    without the file they would have to wait until the leases in the outbox run out.
    """
    try:
        give_back_outgoing(ledger, [process.owner])
    except LedgerError as error:
        log.debug("outbox_not_given_back", extra={"why": str(error)})
        return False
    return True


def submit_context(process: Process) -> SubmitContext:
    """What this host's environment and configuration add to every request."""
    output = process.config.output
    return SubmitContext(
        default_backend=process.config.default_backend,
        style_of=process.config.style,
        output_folder=Path(output.dir).expanduser().absolute(),
        naming=output.naming,
        format=output.format,
        sidecar=output.sidecar,
        metadata=output.metadata,
        caller=resolve_caller(process.env),
        delivery_host=process.host,
        owner_user_id=process.config.owner_user_id,
        sync=output.cloud_sync,
    )


def submit_folders(process: Process, ledger: Ledger) -> DeliveryFolders:
    """Where the images of the jobs that this process submits may be written."""
    if not process.has_broker:
        return own_folders(process.own_allowed_dirs)
    return delivery_folders(
        ledger,
        host=process.host,
        own=process.own_allowed_dirs,
        within_s=process.config.workers.lease_s,
        lock_folder=process.lock_folder,
    )


def queues_of_role(process: Process, role: str) -> list[str]:
    """The queues that workers of a role serve.

    ``gpu`` and ``cloud`` serve the queue of that name, and those of their own name that the
    configuration gives to backends whose adapter usually goes there.
    """
    if role == "results":
        from imagen.queue.broker.routing import results_queue

        return [results_queue(process.host)]
    adapters = InstalledAdapters()
    own = {
        spec.queue
        for spec in backend_specs(process.config, adapters)
        if spec.queue not in (None, "gpu", "cloud")
        and adapters.load(spec.type).default_queue == role
    }
    return [role, *sorted(str(queue) for queue in own)]


class _LazyLimiter:
    """A ``Limiter`` that costs nothing until a backend asks: importing `limits` takes 70 ms."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url

    @cached_property
    def _shared(self) -> Limiter:
        from imagen.ratelimit import make_limiter

        return make_limiter(self._redis_url)

    def wait(self, key: str, limits: tuple[str, ...], *, timeout_s: float) -> None:
        self._shared.wait(key, limits, timeout_s=timeout_s)
