"""Runs jobs in this process, in threads: the embedded default, with nothing to install or start.

The same step functions and the same retry policy as the queue's workers; only who calls them
differs. Celery is not imported here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol
from uuid import UUID

from imagen.domain.job import Job, JobState, Wakeup
from imagen.domain.protocols import Clock
from imagen.domain.scope import Scope
from imagen.errors import ImagenError, LedgerError, LedgerUnavailable, OutOfCredit
from imagen.ledger.jobs.artifacts import undelivered_bytes
from imagen.ledger.jobs.claim import Claimant
from imagen.ledger.jobs.pauses import paused_backends
from imagen.ledger.queries.unfinished_jobs import has_unfinished, next_due_s, unfinished_places
from imagen.ledger.queries.waiting_jobs import crashed_waiting
from imagen.ledger.store.engine import Ledger
from imagen.local.sleepers import Sleepers
from imagen.services.deliver.deliver import DeliveryService
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.draw.draw import DrawService
from imagen.services.draw.isolation import IsolationGate
from imagen.services.draw.standstill import (
    StandstillNews,
    require_reachable_backend,
    require_usable_account,
)
from imagen.services.leases.heartbeat import Heartbeat, give_back_all
from imagen.services.leases.ledger_outage import LedgerPatience
from imagen.services.leases.reconcile import Reconciler
from imagen.services.sync.send import Sync

log = logging.getLogger(__name__)

#: How often the ledger is looked at when nothing happens here, at first and later: other processes
#: may add or finish jobs.
_LOOK_EVERY_S = 0.5
_LOOK_SELDOM_S = 2.0
#: How often what is more than this: what the dead held, pauses, how much is undelivered.
_LOOK_AFTER_EVERY_S = 5.0
#: How often it is looked for images that others have generated.
_DELIVER_EVERY_S = 2.0
#: How often the outbox is looked at for what was put off.
_SEND_EVERY_S = 5.0


class Listener(Protocol):
    """Who wants to hear what happens to jobs, in this process and from its threads."""

    def on_outcome(self, outcome: ClaimOutcome) -> None: ...

    def on_event(self, job_id: UUID, event: Mapping[str, object]) -> None: ...

    def on_pause(self, backend: str, reason: str) -> None: ...

    def on_unreachable(self, backend: str, reason: str) -> None: ...


@dataclass
class LocalPublisher:
    """Implements ``Publisher`` within one process."""

    #: The threads that draw, by queue.
    drawers: dict[str, Sleepers] = field(default_factory=dict)
    delivery_wanted: threading.Event = field(default_factory=threading.Event)
    sending_wanted: threading.Event = field(default_factory=threading.Event)
    listener: Listener | None = None

    def wake_workers(self, queue: str, _wakeups: Sequence[Wakeup]) -> None:
        self._wake_one(queue)

    def wake_drawers(self) -> None:
        """Let a thread of each queue look for work."""
        for queue in list(self.drawers):
            self._wake_one(queue)

    def wake_results(self, _host: str) -> None:
        self.delivery_wanted.set()

    def wake_outbox(self, _host: str) -> None:
        self.sending_wanted.set()

    def announce(self, job: Job, event: Mapping[str, object]) -> None:
        if event.get("event") == "running":
            # It was claimed: the next one may be waiting behind it.
            self._wake_one(job.queue)
        if self.listener is not None:
            self.listener.on_event(job.id, event)

    def _wake_one(self, queue: str) -> None:
        if queue in self.drawers:
            self.drawers[queue].wake_one()


@dataclass
class LocalExecutor:
    """Draws and delivers the jobs of a scope with threads of this process.

    ``concurrency`` is the number of drawing threads for each queue; one thread delivers.
    """

    ledger: Ledger
    drawing: DrawService
    delivery: DeliveryService
    heartbeat: Heartbeat
    reconciler: Reconciler
    publisher: LocalPublisher
    clock: Clock
    owner: str
    host: str
    lease_s: float
    concurrency: Mapping[str, int]
    max_artifact_bytes: int
    #: How long a run waits for a backend that is away before it ends.
    unavailable_patience_s: float = 300.0
    ledger_patience_s: float = 60.0
    #: Sends usage rows and copies to Supabase; nothing where that is not configured.
    sync: Sync | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _idle: threading.Event = field(default_factory=threading.Event)
    _full: threading.Event = field(default_factory=threading.Event)
    _crowd: IsolationGate = field(default_factory=IsolationGate)
    _broken: ImagenError | None = None
    _looked_s: float = float("-inf")
    _news: list[tuple[StandstillNews, Callable[[str, str], None]]] = field(default_factory=list)
    _patience: LedgerPatience = field(init=False)

    def run(self, scope: Scope, *, forever: bool = False, timeout_s: float | None = None) -> bool:
        """Draw and deliver until nothing of ``scope`` is unfinished; says whether that is so.

        Ends early, with False, when ``stop`` was called or ``timeout_s`` seconds are over.

        Raises:
            OutOfCredit, CredentialError: nothing more can be drawn until the account is put in
                order; the jobs wait.
            BackendUnavailable: the backend of every job left stayed away; the jobs wait.
            LedgerError: the ledger went away for longer than a minute.
        """
        look_s = _LOOK_EVERY_S
        deadline_s = None if timeout_s is None else self.clock.boottime_s() + timeout_s
        self._news = self._make_news()
        self._patience = LedgerPatience(self.clock, self.ledger_patience_s)
        self._look_after(scope)
        self._start_circuits()
        threads = self._start_threads(scope, self._queues(scope, forever=forever))
        try:
            while not self._stop.is_set():
                is_news = self._idle.wait(self._pause_s(scope, look_s, deadline_s))
                self._idle.clear()
                look_s = _LOOK_EVERY_S if is_news else min(_LOOK_SELDOM_S, look_s * 1.5)
                try:
                    if not forever and not has_unfinished(self.ledger, scope):
                        return True
                    is_time = self._is_time_to_look()
                    if is_time:
                        self._look_after(scope)
                    elif is_news:
                        # What a run ends for is told before it ends.
                        self._tell_standstills(scope)
                    if not forever and (is_news or is_time):
                        self._require_progress(scope)
                    self.publisher.wake_drawers()
                    self._patience.note_answer()
                except LedgerUnavailable as error:
                    self._patience.note_absence(error)
                if deadline_s is not None and self.clock.boottime_s() > deadline_s:
                    return False
        finally:
            self._stop.set()
            self._wake_all()
            self.drawing.circuits.stop()
            self._let_finish(threads, grace_s=self._grace_s)
            self._leave_turn()
        if self._broken is not None:
            raise self._broken
        return not has_unfinished(self.ledger, scope)

    _grace_s: float = 0.0

    def stop(self, *, grace_s: float = 0.0) -> None:
        """Claim nothing more; what runs may take ``grace_s`` seconds to finish, then it is given
        back with its external id, so that the next worker resumes it. Safe in a signal handler."""
        self._grace_s = grace_s
        self._stop.set()
        self._idle.set()

    def _make_news(self) -> list[tuple[StandstillNews, Callable[[str, str], None]]]:
        """What is to be told to the listener, and how."""
        listener = self.publisher.listener
        if listener is None:
            return []
        circuits = self.drawing.circuits
        pauses = StandstillNews(self.ledger, lambda: paused_backends(self.ledger))
        unreachable = StandstillNews(
            self.ledger, lambda: {each.backend: each.why for each in circuits.all_open()}
        )
        return [(pauses, listener.on_pause), (unreachable, listener.on_unreachable)]

    def _start_circuits(self) -> None:
        def tell_change() -> None:
            self.publisher.wake_drawers()
            self._idle.set()
            if self.heartbeat.on_beat is not None:
                self.heartbeat.on_beat()

        self.drawing.circuits.on_change = tell_change
        self.drawing.circuits.start()

    def _require_progress(self, scope: Scope) -> None:
        require_usable_account(self.ledger, scope)
        require_reachable_backend(
            self.ledger, scope, self.drawing.circuits, patience_s=self.unavailable_patience_s
        )

    def _leave_turn(self) -> None:
        try:
            self.reconciler.leave()
        except LedgerUnavailable as error:
            # The turn runs out by itself.
            log.debug("turn_not_given_up", extra={"why": str(error)})

    def _queues(self, scope: Scope, *, forever: bool) -> set[str]:
        """The queues worth threads: all of them, or those that the scope's jobs are in."""
        if forever:
            return set(self.concurrency)
        return {place.queue for place in unfinished_places(self.ledger, scope)}

    def _start_threads(self, scope: Scope, queues: set[str]) -> list[threading.Thread]:
        work: list[Callable[[], None]] = [partial(self._deliver_all, scope)]
        if self.sync is not None:
            work.append(partial(self._send_all, replace(self.sync, should_stop=self._stop.is_set)))
        for queue in queues:
            self.publisher.drawers[queue] = Sleepers()
            work += [partial(self._draw_all, scope, queue)] * self.concurrency.get(queue, 2)
        # Daemons: what still blocks in a backend at the end must not keep the process alive.
        threads = [threading.Thread(target=each, daemon=True) for each in work]
        for thread in threads:
            thread.start()
        return threads

    def _draw_all(self, scope: Scope, queue: str) -> None:
        claimant = Claimant(self.owner, [queue], self.lease_s, scope)
        sleepers = self.publisher.drawers[queue]
        while not self._stop.is_set():
            if self._guarded(lambda: self._draw_one(claimant)):
                self._idle.set()
            else:
                sleepers.sleep()

    def _draw_one(self, claimant: Claimant) -> bool:
        if self._full.is_set():
            return False
        with self._crowd.entering() as crashed:
            if crashed is None:
                return False
            outcome = self.drawing.draw_next(claimant, crashed=crashed)
        if outcome is None:
            return False
        if crashed:
            self._crowd.want_alone()
        if isinstance(outcome.error, OutOfCredit):
            self._end_with(outcome.error)
        self._tell(outcome)
        return True

    def _deliver_all(self, scope: Scope) -> None:
        claimant = Claimant(self.owner, [], self.lease_s, scope)
        while not self._stop.is_set():
            self.publisher.delivery_wanted.clear()
            if self._guarded(lambda: self._deliver_some(claimant)):
                self._idle.set()
            else:
                self.publisher.delivery_wanted.wait(_DELIVER_EVERY_S)

    def _deliver_some(self, claimant: Claimant) -> bool:
        outcomes = self.delivery.deliver_next(claimant, host=self.host)
        for outcome in outcomes:
            self._tell(outcome)
            if outcome.state is JobState.QUEUED:
                self.publisher.wake_drawers()
        return bool(outcomes)

    def _send_all(self, sync: Sync) -> None:
        """Send what is due; what cannot be sent now waits in the outbox and ends nothing."""
        while not self._stop.is_set():
            self.publisher.sending_wanted.clear()
            try:
                sync.drain()
            except ImagenError as error:
                log.warning("outbox_not_sent", extra={"why": str(error)})
            self.publisher.sending_wanted.wait(_SEND_EVERY_S)

    def _guarded(self, work: Callable[[], bool]) -> bool:
        """What ``work`` says; an error that ends the whole run is kept for ``run`` to raise."""
        try:
            return work()
        except LedgerUnavailable as error:
            try:
                self._patience.note_absence(error)
            except LedgerUnavailable:
                self._end_with(error)
        except LedgerError as error:
            self._end_with(error)
        except Exception as error:
            log.exception("thread_failed")
            self._end_with(ImagenError(f"imagen failed with {type(error).__name__}: {error}"))
        return False

    def _end_with(self, error: ImagenError) -> None:
        self._broken = self._broken or error
        self._stop.set()
        self._wake_all()

    def _is_time_to_look(self) -> bool:
        now_s = self.clock.boottime_s()
        if now_s - self._looked_s < _LOOK_AFTER_EVERY_S and not self._full.is_set():
            return False
        self._looked_s = now_s
        return True

    def _look_after(self, scope: Scope) -> None:
        self.reconciler.tick()
        left_out = self.drawing.circuits.open_names
        if crashed_waiting(self.ledger, list(self.concurrency), scope, left_out=left_out):
            self._crowd.want_alone()
        self._tell_standstills(scope)
        if undelivered_bytes(self.ledger, scope) > self.max_artifact_bytes:
            self._full.set()
        elif self._full.is_set():
            self._full.clear()

    def _tell_standstills(self, scope: Scope) -> None:
        for news, tell in self._news:
            for backend, reason in news.since_last(scope).items():
                tell(backend, reason)

    def _pause_s(self, scope: Scope, look_s: float, deadline_s: float | None) -> float:
        """For how long nothing need be looked at, unless something happens."""
        left_s = look_s if deadline_s is None else deadline_s - self.clock.boottime_s()
        try:
            due_s = next_due_s(self.ledger, scope)
        except LedgerUnavailable:
            due_s = _LOOK_EVERY_S
        return max(0.01, min(look_s, left_s, look_s if due_s is None else due_s))

    def _let_finish(self, threads: list[threading.Thread], *, grace_s: float) -> None:
        deadline_s = self.clock.boottime_s() + grace_s
        for thread in threads:
            thread.join(max(0.05, deadline_s - self.clock.boottime_s()))
        give_back_all(self.ledger, self.heartbeat)

    def _wake_all(self) -> None:
        self._idle.set()
        for sleepers in self.publisher.drawers.values():
            sleepers.close()
        self.publisher.delivery_wanted.set()
        self.publisher.sending_wanted.set()

    def _tell(self, outcome: ClaimOutcome) -> None:
        if self.publisher.listener is not None:
            self.publisher.listener.on_outcome(outcome)
