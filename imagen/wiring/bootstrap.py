"""Configuration in, wired services out: the only file that knows which piece goes where."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.config.load import find_config, load_config
from imagen.domain.protocols import Publisher
from imagen.errors import ConfigError
from imagen.ledger.store.migrate import ledger_id
from imagen.services.draw.circuit import Circuits
from imagen.services.draw.draw import DrawService
from imagen.services.draw.retry_policy import RetryPolicy
from imagen.services.leases.heartbeat import Heartbeat
from imagen.services.report.check_config import backend_specs
from imagen.wiring.foundation import Foundation

if TYPE_CHECKING:
    from imagen.local.executor import Listener as LocalListener
    from imagen.local.executor import LocalExecutor
    from imagen.queue.executor import Listener as QueueListener
    from imagen.queue.executor import QueueExecutor
    from imagen.queue.publish.publisher import CeleryPublisher
    from imagen.queue.worker.maintenance import Maintenance
    from imagen.queue.worker.worker import QueueWorker
    from imagen.services.deliver.deliver import Delivery
    from imagen.services.draw.cancel_orphaned import Canceler
    from imagen.services.leases.reconcile import Reconciler


class Imagen(Foundation):
    """One process's imagen: what runs its jobs, here or in workers."""

    def local_executor(
        self, *, listener: LocalListener | None = None, max_attempts: int | None = None
    ) -> LocalExecutor:
        """Runs jobs in this process. ``max_attempts`` is for a command that somebody waits for."""
        from imagen.local.executor import LocalExecutor, LocalPublisher

        publisher = LocalPublisher(listener=listener)
        heartbeat = self._started_heartbeat()
        return LocalExecutor(
            ledger=self.ledger,
            drawing=self._drawing(heartbeat, publisher, max_attempts),
            # Embedded, the user delivers their own files: any path, but where the configuration
            # names folders.
            delivery=self._delivery(heartbeat, publisher, allowed_dirs=self.own_allowed_dirs()),
            heartbeat=heartbeat,
            reconciler=self._reconciler(),
            publisher=publisher,
            clock=self.clock,
            owner=self.owner,
            host=self.host,
            lease_s=self.config.workers.lease_s,
            concurrency=self._threads_by_queue(),
            max_artifact_bytes=self.config.artifacts.max_bytes,
            unavailable_patience_s=self.config.workers.unavailable_patience_s,
            sync=self.sync() if self.has_supabase else None,
        )

    def canceler(self) -> Canceler:
        """Cancels jobs from this process, where no worker does."""
        from imagen.services.draw.cancel_orphaned import Canceler

        executor = self.local_executor()
        return Canceler(
            self.ledger,
            executor.drawing,
            executor.reconciler,
            self.owner,
            self.host,
            self.config.workers.lease_s,
        )

    def queue_executor(self, *, listener: QueueListener | None = None) -> QueueExecutor:
        """Waits for jobs that workers draw.

        Raises:
            ConfigError: the ledger is a SQLite file and the broker is on another host.
        """
        from imagen.queue.executor import QueueExecutor

        publisher = self.queue_publisher
        heartbeat = self._started_heartbeat()
        return QueueExecutor(
            ledger=self.ledger,
            delivery=self._delivery(heartbeat, publisher, allowed_dirs=self.own_allowed_dirs()),
            caretaker=self._caretaker(publisher),
            client=publisher.client,
            clock=self.clock,
            owner=self.owner,
            host=self.host,
            lease_s=self.config.workers.lease_s,
            presence_folder=self.presence_folder,
            listener=listener,
        )

    @cached_property
    def queue_publisher(self) -> CeleryPublisher:
        """Sends this process's wake-ups.

        Raises:
            ConfigError: the ledger is a SQLite file and the broker is on another host.
        """
        from imagen.queue.broker.app import make_app
        from imagen.queue.broker.connection import connect
        from imagen.queue.publish.publisher import CeleryPublisher
        from imagen.queue.worker.program import refuse_remote_sqlite

        url = self.config.queue.broker_url
        refuse_remote_sqlite(self.ledger, url)
        return CeleryPublisher(make_app(url), connect(url), url, ledger_id(self.ledger))

    def queues_of_role(self, role: str) -> list[str]:
        """The queues that workers of a role serve.

        ``gpu`` and ``cloud`` serve the queue of that name, and those of their own name that the
        configuration gives to backends whose adapter usually goes there.
        """
        if role == "results":
            from imagen.queue.broker.routing import results_queue

            return [results_queue(self.host)]
        own = {
            spec.queue
            for spec in backend_specs(self.config, self.adapters)
            if spec.queue not in (None, "gpu", "cloud")
            and self.adapters.load(spec.type).default_queue == role
        }
        return [role, *sorted(str(queue) for queue in own)]

    def queue_worker(self, role: str) -> QueueWorker:
        """This process as a worker of ``role``; to be made after every fork."""
        from imagen.queue.publish.coalescing_publisher import CoalescingPublisher
        from imagen.queue.worker.worker import QueueWorker

        publisher = self.queue_publisher
        doorbell = CoalescingPublisher(
            publisher.app, publisher.client, publisher.broker_url, publisher.ledger_id
        )
        heartbeat = self._new_heartbeat()
        queues = self.queues_of_role(role)
        queue_of = {name: self._queue_of(name) for name in self.registry.names()}
        served = {name: queue for name, queue in queue_of.items() if queue and queue in queues}
        workers = self.config.workers
        return QueueWorker(
            role=role,
            host=self.host,
            owner=self.owner,
            queues=queues,
            backends=list(served),
            queue_of=served,
            ledger=self.ledger,
            ledger_id=publisher.ledger_id,
            drawing=self._drawing(heartbeat, doorbell),
            delivery=self._delivery(heartbeat, publisher, allowed_dirs=self.allowed_dirs()),
            heartbeat=heartbeat,
            clock=self.clock,
            client=publisher.client,
            publisher=publisher,
            presence_folder=self.presence_folder,
            lease_s=workers.lease_s,
            grace_s=workers.grace_s,
            max_artifact_bytes=self.config.artifacts.max_bytes,
            caretaker=None if role == "gpu" else self._caretaker(publisher),
            sync=self.sync() if role == "results" else None,
        )

    def _drawing(
        self, heartbeat: Heartbeat, publisher: Publisher, max_attempts: int | None = None
    ) -> DrawService:
        workers = self.config.workers
        policy = RetryPolicy(
            max_attempts=max_attempts or workers.max_attempts,
            backoff_base_s=workers.backoff_base_s,
            backoff_max_s=workers.backoff_max_s,
            rate_limit_patience_s=workers.rate_limit_patience_s,
            waits_for_backends=max_attempts is None,
        )
        circuits = Circuits(self.registry.get, self.clock, check_s=workers.check_s)
        return DrawService(
            self.ledger,
            self.registry,
            heartbeat,
            publisher,
            self.clock,
            policy,
            circuits,
            sends_usage=self.sends_usage,
        )

    def _delivery(
        self, heartbeat: Heartbeat, publisher: Publisher, *, allowed_dirs: list[Path] | None
    ) -> Delivery:
        # Brings Pillow and every image format, which a command that only submits has no use for.
        from imagen.services.deliver.deliver import Delivery
        from imagen.services.deliver.full_disks import FullDisks

        return Delivery(
            self.ledger,
            heartbeat,
            publisher,
            self.clock,
            allowed_dirs=allowed_dirs,
            sends_usage=self.sends_usage,
            has_cloud=self.has_supabase,
            full_disks=FullDisks(self.config.results.disk_patience_s),
        )

    def _reconciler(self) -> Reconciler:
        from imagen.services.leases.reconcile import Reconciler

        return Reconciler(
            self.ledger,
            self.owner,
            self.clock,
            self.config.workers.max_crashes,
            self.presence_folder,
            self.config.workers.lease_s,
        )

    def _caretaker(self, publisher: CeleryPublisher) -> Maintenance:
        from imagen.queue.publish.queue_filler import QueueFiller
        from imagen.queue.worker.maintenance import Maintenance

        feeder = QueueFiller(
            self.ledger,
            publisher,
            publisher.client,
            publisher.broker_url,
            self.config.queue.window,
            self.config.workers.lease_s,
        )
        return Maintenance(self._reconciler(), feeder, self.config.workers.reconcile_s)

    def _queue_of(self, backend: str) -> str | None:
        """The queue of a backend; nothing where its adapter is missing or broken here."""
        try:
            return self.registry.queue_of(backend)
        except ConfigError:
            return None

    def _threads_by_queue(self) -> dict[str, int]:
        """Drawing threads by queue: the configured number, and two for a queue of its own name."""
        concurrency = self.config.workers.concurrency
        usual = {"gpu": concurrency.gpu, "cloud": concurrency.cloud}
        named = {entry.queue for entry in self.config.backends.values() if entry.queue}
        return usual | {queue: usual.get(queue, 2) for queue in named}


def open_imagen(explicit_config: str | None, env: Mapping[str, str]) -> Imagen:
    """The process's imagen, from ``--config`` or where the configuration is usually found.

    Raises:
        ConfigError: the configuration is wrong; every problem in one message.
    """
    return Imagen(load_config(find_config(explicit_config, env), env), env)
