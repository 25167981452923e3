"""Waits for jobs that workers draw, and does what no worker does.

It listens to events and also looks at the rows, reconciles and tops queues up like every worker,
and delivers its own jobs where its host has no results worker; the claim makes that safe.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import redis

from imagen.domain.job import JobState
from imagen.domain.protocols import Clock
from imagen.domain.scope import Scope
from imagen.ledger.jobs.worker_rows import Worker
from imagen.ledger.queries.unfinished_jobs import has_unfinished, running_ids
from imagen.ledger.store.engine import Ledger
from imagen.queue.wait.job_events import EventSubscription, listen
from imagen.queue.wait.worker_watch import WorkerWatch, unreachable_reasons
from imagen.queue.worker.maintenance import Maintenance
from imagen.services.deliver.host_delivery import HostDelivery
from imagen.services.draw.job_listener import JobListener
from imagen.services.draw.run_loop import RunLoop
from imagen.services.draw.standstill import StandstillReporter, require_usable_account
from imagen.services.leases.ledger_outage import LedgerPatience

#: Seconds between two looks at the rows, at first and later.
_FIRST_PAUSE_S = 0.25
_LAST_PAUSE_S = 1.0
#: Seconds without a worker for a queue before the listener is told.
_MISSING_AFTER_S = 5.0
#: Of so many running jobs of a batch the progress is received.
_MOST_FOLLOWED = 8
#: Events after which the rows are looked at at once.
_ENDS = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED, JobState.GENERATED})


@dataclass
class QueueExecutor:
    """Waits for the jobs of a scope while workers draw them."""

    ledger: Ledger
    clock: Clock
    client: redis.Redis
    maintenance: Maintenance
    delivery: HostDelivery
    workers: WorkerWatch
    listener: JobListener | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)
    _unreachable: Mapping[str, str] = field(default_factory=dict)

    def run(self, scope: Scope, *, timeout_s: float | None = None) -> bool:
        """Wait until nothing of ``scope`` is unfinished; says whether that is so.

        Ends early, with False, when ``stop`` was called or ``timeout_s`` seconds are over; workers
        go on with the jobs.

        Raises:
            OutOfCredit, CredentialError: the backend of every job that still waits is paused for
                that reason.
            LedgerUnavailable: the ledger stayed away for a minute.
        """
        began_s = self.clock.boottime_s()
        standstills = StandstillReporter(self.ledger, self.listener, lambda: self._unreachable)
        loop = RunLoop(
            self.ledger,
            self.clock,
            LedgerPatience(self.clock),
            self._stopping,
            _FIRST_PAUSE_S,
            _LAST_PAUSE_S,
        )
        with listen(self.client, scope.job_ids or ()) as events:

            def look(_is_news: bool) -> None:
                self._help(scope, standstills, waited_s=self.clock.boottime_s() - began_s)
                if events is not None and scope.job_ids is None:
                    events.follow(running_ids(self.ledger, scope, limit=_MOST_FOLLOWED))

            is_named = scope.job_ids is not None
            pause = partial(self._receive, events, is_named=is_named)
            is_finished = loop.run(scope, look, pause, timeout_s=timeout_s)
        return not has_unfinished(self.ledger, scope) if is_finished is None else is_finished

    def stop(self, *, grace_s: float = 0.0) -> None:  # noqa: ARG002  (the same verb as LocalExecutor)
        """End the wait; workers go on with the jobs. Safe in a signal handler."""
        self._stopping.set()

    def _help(self, scope: Scope, standstills: StandstillReporter, *, waited_s: float) -> None:
        """Do what is to be done between two looks: maintain, deliver, tell what is wrong."""
        self.maintenance.tick()
        require_usable_account(self.ledger, scope)
        alive = self.workers.alive()
        self._unreachable = unreachable_reasons(alive)
        standstills.report(scope)
        if waited_s > _MISSING_AFTER_S and self.listener is not None:
            for queue in self.workers.newly_missing(scope, alive):
                self.listener.on_missing_worker(queue)
        self._deliver_without_worker(scope, alive)

    def _receive(self, events: EventSubscription | None, for_s: float, *, is_named: bool) -> bool:
        """Pass events on for so long, or until one says that a named job came to its end.

        Of a batch only some jobs are followed, so finished ones are counted from the rows, and
        only progress is passed on.
        """
        until_s = self.clock.boottime_s() + for_s
        while not self._stopping.is_set() and (left_s := until_s - self.clock.boottime_s()) > 0:
            if events is None:
                self._stopping.wait(left_s)
                break
            try:
                received = events.next(timeout_s=left_s)
            except redis.RedisError:
                # redis-py connects again at the next call; until then the rows are looked at.
                self._stopping.wait(left_s)
                break
            if received is None:
                continue
            job_id, event = received
            if not is_named and event.get("event") != "progress":
                continue
            if self.listener is not None:
                self.listener.on_event(job_id, event)
            if event.get("event") in _ENDS:
                break
        # However many events come, the rows are looked at more and more seldom.
        return False

    def _deliver_without_worker(self, scope: Scope, alive: list[Worker]) -> None:
        """Deliver what waits, unless this host has a results worker to do so."""
        host = self.delivery.holder.host
        if any(worker.role == "results" and worker.host == host for worker in alive):
            return
        while outcomes := self.delivery.deliver_some(scope):
            for outcome in outcomes:
                if self.listener is not None:
                    self.listener.on_outcome(outcome)
