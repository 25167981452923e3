"""The parts of one process behind one name, for callers that do not open their own yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any

from imagen.backends.registry import Registry
from imagen.config.load import find_config, load_config
from imagen.config.schema import Config
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.open_ledger import open_ledger
from imagen.services.leases.process_lock import ProcessLock
from imagen.services.submit.delivery_folders import DeliveryFolders
from imagen.services.submit.resolve import SubmitContext
from imagen.wiring import executors, parts, supabase
from imagen.wiring.process import make_process

if TYPE_CHECKING:
    from imagen.local.local_executor import LocalExecutor
    from imagen.queue.publish.publisher import CeleryPublisher
    from imagen.queue.wait.queue_executor import QueueExecutor
    from imagen.services.leases.reconcile import Reconciler
    from imagen.services.sync.destinations import RemoteUsageTable
    from imagen.services.sync.send import OutboxSender


class Imagen:
    """Opens each part of ``imagen.wiring`` when it is first asked for; ``close`` closes them."""

    def __init__(self, config: Config, env: Mapping[str, str]) -> None:
        self.process = make_process(config, env)
        self.config = config
        self.env = env
        self.host = self.process.host
        self.owner = self.process.owner
        self._stack = ExitStack()

    def __getattr__(self, name: str) -> Any:
        if name in (
            "clock",
            "has_broker",
            "has_supabase",
            "missing_for_supabase",
            "is_ledger_in_project",
            "sends_usage",
            "state_folder",
        ):
            return getattr(self.process, name)
        raise AttributeError(name)

    @cached_property
    def ledger(self) -> Ledger:
        return self._stack.enter_context(parts.opened_ledger(self.process))

    def open_ledger(self) -> Ledger:
        return open_ledger(
            self.config.database.url, default_path=self.process.state_folder / "ledger.db"
        )

    @cached_property
    def registry(self) -> Registry:
        return self._stack.enter_context(parts.opened_registry(self.process, self.ledger))

    def registry_without_ledger(self) -> Registry:
        return self._stack.enter_context(parts.opened_registry(self.process, None))

    def submit_context(self) -> SubmitContext:
        return parts.submit_context(self.process)

    def delivery_folders(self) -> DeliveryFolders:
        return parts.submit_folders(self.process, self.ledger)

    def hold_lock_file(self) -> None:
        self._lock  # noqa: B018  (the first use takes it)

    @cached_property
    def _lock(self) -> ProcessLock:
        return self._stack.enter_context(parts.held_lock(self.process, outbox=self.ledger))

    def sync(self, *, should_stop: Callable[[], bool] = lambda: False) -> OutboxSender:
        return supabase.make_outbox_sender(self.process, self.ledger, should_stop=should_stop)

    def usage_sink(self) -> RemoteUsageTable | None:
        return supabase.remote_usage_table(self.process)

    def local_executor(self, **options: Any) -> LocalExecutor:
        return self._stack.enter_context(
            executors.local_executor(
                self.process, self.ledger, self.registry, self._lock, **options
            )
        )

    def queue_executor(self, **options: Any) -> QueueExecutor:
        return self._stack.enter_context(
            executors.queue_executor(self.process, self.ledger, self._lock, **options)
        )

    @cached_property
    def queue_publisher(self) -> CeleryPublisher:
        from imagen.wiring.queue_parts import make_queue_publisher

        return make_queue_publisher(self.process, self.ledger)

    def _reconciler(self) -> Reconciler:
        return parts.make_reconciler(self.process, self.ledger)

    def close(self) -> None:
        self._stack.close()


def open_imagen(explicit_config: str | None, env: Mapping[str, str]) -> Imagen:
    """The process's imagen, from ``--config`` or where the configuration is usually found."""
    return Imagen(load_config(find_config(explicit_config, env), env), env)
