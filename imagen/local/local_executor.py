"""Runs jobs in this process, in threads: the embedded default, with nothing to install or start.

The same step functions and the same retry policy as the queue's workers; only who calls them
differs. Celery is not imported here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from imagen.domain.protocols import Clock
from imagen.domain.scope import Scope
from imagen.errors import LedgerUnavailable
from imagen.ledger.queries.unfinished_jobs import has_unfinished, next_due_s, queues_of
from imagen.ledger.store.engine import Ledger
from imagen.local.local_publisher import LocalPublisher, SleepingThreads
from imagen.local.run_threads import RunThreads
from imagen.local.thread_work import DeliverWork, DrawWork, SendWork
from imagen.local.upkeep import LocalUpkeep
from imagen.services.draw.circuit import Circuits
from imagen.services.draw.run_loop import RunLoop
from imagen.services.draw.standstill import (
    StandstillReporter,
    require_reachable_backend,
    require_usable_account,
)
from imagen.services.leases.heartbeat import Heartbeat, give_back_all
from imagen.services.leases.ledger_outage import LedgerPatience

#: Seconds between two looks at the ledger when nothing happens here, at first and later: other
#: processes may add or finish jobs.
_FIRST_PAUSE_S = 0.5
_LAST_PAUSE_S = 2.0
_SHORTEST_PAUSE_S = 0.01


@dataclass
class LocalExecutor:
    """Draws, delivers and sends the jobs of a scope with threads of this process."""

    ledger: Ledger
    clock: Clock
    publisher: LocalPublisher
    heartbeat: Heartbeat
    circuits: Circuits
    upkeep: LocalUpkeep
    #: Drawing threads by queue; one thread delivers, and one sends.
    threads_by_queue: Mapping[str, int]
    draw_work: DrawWork
    deliver_work: DeliverWork
    #: None where no Supabase project is configured.
    send_work: SendWork | None = None
    #: How long a run waits for a backend that is away before it ends.
    unavailable_patience_s: float = 300.0
    ledger_patience_s: float = 60.0
    _stopping: threading.Event = field(default_factory=threading.Event)
    _grace_s: float = 0.0

    def run(self, scope: Scope, *, forever: bool = False, timeout_s: float | None = None) -> bool:
        """Draw and deliver until nothing of ``scope`` is unfinished; says whether that is so.

        Ends early, with False, when ``stop`` was called or ``timeout_s`` seconds are over.

        Raises:
            OutOfCredit, CredentialError: nothing more can be drawn until the account is put in
                order; the jobs wait.
            BackendUnavailable: the backend of every job left stayed away; the jobs wait.
            LedgerError: the ledger went away for longer than a minute.
        """
        standstills = StandstillReporter(self.ledger, self.publisher.listener, self._unreachable)
        patience = LedgerPatience(self.clock, self.ledger_patience_s)
        self.upkeep.run(scope)
        standstills.report(scope)
        self.circuits.on_change = self._note_circuit
        self.circuits.start()
        threads = RunThreads(self.publisher, self.clock, patience, self._stopping)
        threads.start(self._work(scope, threads, forever=forever))

        def look(is_news: bool) -> None:
            is_due = self.upkeep.is_due()
            if is_due:
                self.upkeep.run(scope)
            if is_due or is_news:
                # What a run ends for is told before it ends.
                standstills.report(scope)
                if not forever:
                    self._require_progress(scope)
            self.publisher.wake_drawers()

        loop = RunLoop(
            self.ledger, self.clock, patience, self._stopping, _FIRST_PAUSE_S, _LAST_PAUSE_S
        )
        try:
            is_finished = loop.run(
                scope, look, partial(self._pause, scope), forever=forever, timeout_s=timeout_s
            )
        finally:
            self._end(threads)
        if is_finished is not None:
            return is_finished
        if threads.error is not None:
            raise threads.error
        return not has_unfinished(self.ledger, scope)

    def stop(self, *, grace_s: float = 0.0) -> None:
        """Claim nothing more; what runs may take ``grace_s`` seconds to finish, then it is given
        back with its external id, so that the next worker resumes it. Safe in a signal handler."""
        self._grace_s = grace_s
        self._stopping.set()
        self.publisher.look_wanted.set()

    def _work(
        self, scope: Scope, threads: RunThreads, *, forever: bool
    ) -> list[Callable[[], None]]:
        """What each thread is to do, drawing threads for queues with jobs of the scope only."""
        queues = list(self.threads_by_queue) if forever else queues_of(self.ledger, scope)
        work = [partial(self.deliver_work.run, scope, threads)]
        if self.send_work is not None:
            work.append(partial(self.send_work.run, threads))
        for queue in queues:
            self.publisher.drawers[queue] = SleepingThreads()
            draw = partial(self.draw_work.run, scope, queue, threads)
            work += [draw] * self.threads_by_queue.get(queue, 2)
        return list(work)

    def _end(self, threads: RunThreads) -> None:
        threads.stop()
        self.circuits.stop()
        threads.join(grace_s=self._grace_s)
        give_back_all(self.ledger, self.heartbeat)
        self.upkeep.leave()

    def _unreachable(self) -> Mapping[str, str]:
        return {each.backend: each.why for each in self.circuits.all_open()}

    def _note_circuit(self) -> None:
        self.publisher.wake_drawers()
        self.publisher.look_wanted.set()
        if self.heartbeat.on_beat is not None:
            self.heartbeat.on_beat()

    def _require_progress(self, scope: Scope) -> None:
        require_usable_account(self.ledger, scope)
        require_reachable_backend(
            self.ledger, scope, self.circuits, patience_s=self.unavailable_patience_s
        )

    def _pause(self, scope: Scope, for_s: float) -> bool:
        """Block until something happens, a put-off job is due, or ``for_s`` seconds are over."""
        try:
            due_s = next_due_s(self.ledger, scope)
        except LedgerUnavailable:
            due_s = _FIRST_PAUSE_S
        wait_s = for_s if due_s is None else min(for_s, due_s)
        is_news = self.publisher.look_wanted.wait(max(_SHORTEST_PAUSE_S, wait_s))
        self.publisher.look_wanted.clear()
        return is_news
