"""Waits for jobs that workers draw, and helps where a worker is missing.

It listens to events and looks at the rows as well, looks after the queues like every worker, and
delivers its own jobs when its host has no results worker; the claim makes that safe.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from uuid import UUID

import redis

from imagen.domain.job import JobState
from imagen.domain.protocols import Clock
from imagen.domain.scope import Scope
from imagen.errors import LedgerUnavailable
from imagen.ledger.jobs.claim import Claimant
from imagen.ledger.jobs.pauses import paused_backends
from imagen.ledger.jobs.worker_rows import Worker, live_workers, unreachable_backends
from imagen.ledger.queries.unfinished_jobs import has_unfinished, running_ids, unfinished_places
from imagen.ledger.store.engine import Ledger
from imagen.queue.publish.events import Events, listen
from imagen.queue.worker.maintenance import Maintenance
from imagen.services.deliver.deliver import DeliveryService
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.draw.standstill import StandstillNews, require_usable_account
from imagen.services.leases import process_lock
from imagen.services.leases.ledger_outage import LedgerPatience

log = logging.getLogger(__name__)

#: How often the rows are looked at: soon at first, then less.
_FIRST_LOOK_S = 0.25
_LAST_LOOK_S = 1.0
#: How long nobody may serve a queue before it is said aloud.
_MISSING_AFTER_S = 5.0
#: Of how many running jobs of a batch the progress is listened to.
_FOLLOWED = 8


class Listener(Protocol):
    """Who wants to hear what happens to the jobs that are waited for."""

    def on_outcome(self, outcome: ClaimOutcome) -> None: ...

    def on_event(self, job_id: UUID, event: Mapping[str, object]) -> None: ...

    def on_missing_worker(self, queue: str) -> None: ...

    def on_pause(self, backend: str, reason: str) -> None: ...

    def on_unreachable(self, backend: str, reason: str) -> None: ...


@dataclass
class QueueExecutor:
    """Waits for the jobs of a scope while workers draw them."""

    ledger: Ledger
    delivery: DeliveryService
    caretaker: Maintenance
    client: redis.Redis
    clock: Clock
    owner: str
    host: str
    lease_s: float
    presence_folder: Path
    listener: Listener | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _told_missing: set[str] = field(default_factory=set)
    _unreachable: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pauses = StandstillNews(self.ledger, lambda: paused_backends(self.ledger))
        self._outages = StandstillNews(self.ledger, lambda: self._unreachable)

    def run(self, scope: Scope, *, timeout_s: float | None = None) -> bool:
        """Wait until nothing of ``scope`` is unfinished; says whether that is so.

        Ends early, with False, when ``stop`` was called or ``timeout_s`` seconds are over; the jobs
        go on without us.

        Raises:
            OutOfCredit, CredentialError: the backend of every job that still waits is paused for
                that reason.
            LedgerUnavailable: the ledger stayed away for a minute.
        """
        began_s = self.clock.boottime_s()
        look_s = _FIRST_LOOK_S
        patience = LedgerPatience(self.clock)
        with self._listening(scope) as events:
            while not self._stop.is_set():
                waited_s = self.clock.boottime_s() - began_s
                try:
                    if not has_unfinished(self.ledger, scope):
                        return True
                    if timeout_s is not None and waited_s >= timeout_s:
                        return False
                    self._help(scope, waited_s=waited_s)
                    if events is not None and scope.job_ids is None:
                        events.follow(running_ids(self.ledger, scope, limit=_FOLLOWED))
                    patience.note_answer()
                except LedgerUnavailable as error:
                    patience.note_absence(error)
                left_s = look_s if timeout_s is None else min(look_s, timeout_s - waited_s)
                is_named = scope.job_ids is not None
                self._hear(events, for_s=max(0.0, left_s), is_named=is_named)
                look_s = min(_LAST_LOOK_S, look_s * 1.5)
        return not has_unfinished(self.ledger, scope)

    def _help(self, scope: Scope, *, waited_s: float) -> None:
        """What somebody has to do between two looks: feed, deliver, and say what is wrong."""
        self.caretaker.tick()
        require_usable_account(self.ledger, scope)
        workers = self._alive()
        self._tell_standstills(scope, workers)
        if waited_s > _MISSING_AFTER_S:
            self._tell_missing(scope, workers)
        self._deliver_where_nobody_does(scope, workers)

    def stop(self, *, grace_s: float = 0.0) -> None:  # noqa: ARG002  (the same verb as LocalExecutor)
        """End the wait; the jobs go on. Safe in a signal handler."""
        self._stop.set()

    @contextmanager
    def _listening(self, scope: Scope) -> Iterator[Events | None]:
        """A subscription to the named jobs, or to none yet for a batch; None without Redis."""
        with listen(self.client, scope.job_ids or ()) as events:
            yield events

    def _hear(self, events: Events | None, *, for_s: float, is_named: bool) -> None:
        """Pass events on for so long, or until one says that a named job came to its end.

        Of a batch only some jobs are heard, so what is counted comes from the rows, and nothing
        but progress is passed on.
        """
        until_s = self.clock.boottime_s() + for_s
        while not self._stop.is_set() and (left_s := until_s - self.clock.boottime_s()) > 0:
            if events is None:
                self._stop.wait(left_s)
                return
            try:
                heard = events.next(timeout_s=left_s)
            except redis.RedisError:
                # redis-py connects again at the next call; until then the rows are looked at.
                self._stop.wait(left_s)
                return
            if heard is None:
                continue
            job_id, event = heard
            if not is_named and event.get("event") != "progress":
                continue
            if self.listener is not None:
                self.listener.on_event(job_id, event)
            if event.get("event") in _ENDS:
                return

    def _alive(self) -> list[Worker]:
        """The workers that reported lately, but those of this host known to be gone."""
        reported = live_workers(self.ledger, within_s=self.lease_s)
        gone = process_lock.dead_among(self.presence_folder, [worker.owner for worker in reported])
        return [worker for worker in reported if worker.owner not in gone]

    def _tell_missing(self, scope: Scope, workers: list[Worker]) -> None:
        served = {queue for worker in workers for queue in worker.queues}
        for place in unfinished_places(self.ledger, scope):
            queue = place.queue
            if place.state is JobState.QUEUED and queue not in served | self._told_missing:
                self._told_missing.add(queue)
                if self.listener is not None:
                    self.listener.on_missing_worker(queue)

    def _tell_standstills(self, scope: Scope, workers: list[Worker]) -> None:
        if self.listener is None:
            return
        for backend, reason in self._pauses.since_last(scope).items():
            self.listener.on_pause(backend, reason)
        self._unreachable = {
            name: f"{circuit.why}, seen from {worker.host}"
            for name, (worker, circuit) in unreachable_backends(workers).items()
        }
        for backend, reason in self._outages.since_last(scope).items():
            self.listener.on_unreachable(backend, reason)

    def _deliver_where_nobody_does(self, scope: Scope, workers: list[Worker]) -> None:
        if any(worker.role == "results" and worker.host == self.host for worker in workers):
            return
        claimant = Claimant(self.owner, [], self.lease_s, scope)
        while outcomes := self.delivery.deliver_next(claimant, host=self.host):
            for outcome in outcomes:
                if self.listener is not None:
                    self.listener.on_outcome(outcome)


#: Events after which the rows are worth a look at once.
_ENDS = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED, JobState.GENERATED})
