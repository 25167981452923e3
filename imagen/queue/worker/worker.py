"""One worker process: what its Celery tasks call, and how it starts and stops."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

import redis

from imagen.domain.job import Job
from imagen.domain.protocols import Clock
from imagen.domain.scope import Scope
from imagen.errors import LedgerError, LedgerMismatch
from imagen.ledger.jobs.artifacts import full_hosts
from imagen.ledger.jobs.claim import Claimant
from imagen.ledger.jobs.delivery import DRAIN_SIZE
from imagen.ledger.jobs.worker_rows import report_worker, sign_off_worker
from imagen.ledger.outbox.outbox import give_back_outgoing
from imagen.ledger.queries.jobs import get_job
from imagen.ledger.queries.waiting_jobs import any_waiting, crashed_waiting
from imagen.ledger.store.engine import Ledger
from imagen.queue.broker.routing import drain_key, outbox_key
from imagen.queue.publish.cancel_events import CancelListener
from imagen.queue.publish.publisher import CeleryPublisher
from imagen.queue.worker.maintenance import Maintenance
from imagen.services.deliver.deliver import DeliveryService
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.draw.draw import DrawService
from imagen.services.draw.isolation import IsolationGate
from imagen.services.leases.heartbeat import Heartbeat, give_back_all
from imagen.services.leases.lock_sweep import LockSweep
from imagen.services.leases.process_lock import ProcessLock, enter
from imagen.services.sync.send import Sync, SyncReport

log = logging.getLogger(__name__)

#: How long a thread that may not draw now leaves the messages alone.
_REST_S = 0.2

_LOOK_FOR_CRASHED_S = 1.0

#: A task ends after about so many.
_MOST_DELIVERIES = 1_000

#: How long images are left to gather where one drain follows another.
_GATHER_S = 0.05


@dataclass
class QueueWorker:
    """A worker of one role (``gpu``, ``cloud`` or ``results``) on this host."""

    role: str
    host: str
    owner: str
    queues: Sequence[str]
    backends: Sequence[str]
    ledger: Ledger
    ledger_id: UUID
    drawing: DrawService
    delivery: DeliveryService
    heartbeat: Heartbeat
    clock: Clock
    client: redis.Redis
    publisher: CeleryPublisher
    presence_folder: Path
    lease_s: float
    grace_s: float
    max_artifact_bytes: int
    #: The queue of each of the backends.
    queue_of: Mapping[str, str] = field(default_factory=dict)
    #: Consumes these queues only, from now on; set once the program consumes at all.
    consume: Callable[[Collection[str]], None] | None = None
    #: Runs in results and cloud workers only: a GPU host need not reach that far.
    caretaker: Maintenance | None = None
    #: Where there is no caretaker.
    lock_sweep: LockSweep | None = None
    #: Sends usage rows and copies; results workers only.
    sync: Sync | None = None
    exit_process: Callable[[int], None] = os._exit
    _crowd: IsolationGate = field(default_factory=IsolationGate)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _draining: threading.Lock = field(default_factory=threading.Lock)
    _consuming: threading.Lock = field(default_factory=threading.Lock)
    _sending: threading.Lock = field(default_factory=threading.Lock)
    #: Hosts for which so much waits for delivery that nothing more is drawn for them.
    _full_hosts: tuple[str, ...] = ()
    _looked_s: float = float("-inf")
    _presence: ProcessLock | None = None
    _cancels: CancelListener | None = None

    def start(self) -> None:
        """Say that this process is there and begin its threads.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        self._presence = enter(self.presence_folder, self.owner)
        self.on_beat()
        self.heartbeat.on_beat = self.on_beat
        self.heartbeat.start()
        if self.role != "results":
            self.drawing.circuits.on_change = self.on_circuits
            self.drawing.circuits.on_look = self.consume_reachable
            self.drawing.circuits.start()
            self._cancels = CancelListener(self.client, self.heartbeat.beat)
            self._cancels.start()
        if self.caretaker is not None:
            self.caretaker.start()

    def on_beat(self) -> None:
        """With each heartbeat: report, and look whether to draw less or alone."""
        self._report()
        if self.lock_sweep is not None:
            self.lock_sweep.run()
        if self.role == "results":
            return
        full = full_hosts(self.ledger, most_bytes=self.max_artifact_bytes)
        for host in set(full) - set(self._full_hosts):
            log.warning("host_full", extra={"host": host})
        self._full_hosts = full

    def on_circuits(self) -> None:
        """A circuit has opened or closed: consume what can be used, and report it."""
        self.consume_reachable()
        self._report()

    def consume_reachable(self) -> None:
        """While a circuit is open: consume only the queues in which anything waits for us.

        The wake-ups of the others are left to workers that can reach what they are for.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        if self.consume is None:
            return
        # One at a time: a look that was begun before a circuit closed must not have the last word.
        with self._consuming:
            self.consume([queue for queue in self.queues if self._is_of_use_in(queue)])

    def _is_of_use_in(self, queue: str) -> bool:
        left_out = self.drawing.circuits.open_names
        if not left_out:
            return True
        served = [name for name, of_queue in self.queue_of.items() if of_queue == queue]
        reachable = [name for name in served if name not in left_out]
        return len(reachable) == len(served) or any_waiting(self.ledger, queue, reachable)

    def _report(self) -> None:
        report_worker(
            self.ledger,
            self.owner,
            host=self.host,
            role=self.role,
            queues=self.queues,
            backends=self.backends,
            model=self.drawing.loaded.name,
            allowed_dirs=self._allowed_dirs,
            open_circuits=self.drawing.circuits.all_open(),
        )

    @property
    def _allowed_dirs(self) -> list[str] | None:
        """Where this worker delivers, for those who submit; None where it only draws."""
        if self.role != "results" or self.delivery.allowed_dirs is None:
            return None
        return [str(folder.absolute()) for folder in self.delivery.allowed_dirs]

    def draw_one(self) -> ClaimOutcome | None:
        """Draw the best waiting job; nothing when none waits or this process is stopping."""
        if self._stopping.is_set():
            return None
        scope = Scope(without_hosts=self._full_hosts)
        self._look_for_crashed(scope)
        claimant = Claimant(self.owner, self.queues, self.lease_s, scope, backends=self.backends)
        with self._crowd.entering() as crashed:
            if crashed is None:
                self._rest()
                return None
            outcome = self.drawing.draw_next(claimant, crashed=crashed)
        if crashed and outcome is not None:
            self._crowd.want_alone()
        if outcome is None and (self.leaves_backends_out or self._full_hosts):
            # It is sent on, or sent again: without a rest this process would take it at once.
            self._rest()
        return outcome

    def job(self, job_id: UUID) -> Job | None:
        """The job that a wake-up was sent for, or None when the ledger has none of that id."""
        return get_job(self.ledger, job_id)

    @property
    def leaves_backends_out(self) -> bool:
        """Whether a wake-up that is of no use here may be of use to another worker."""
        return bool(self.drawing.circuits.open_names) and not self._stopping.is_set()

    def pass_on(self, queue: str, task_id: str, label: str, *, retries: int = 0) -> None:
        """Send a wake-up that is of no use here to the other workers of its queue."""
        self.publisher.pass_on(queue, task_id, label, retries=retries)

    def _look_for_crashed(self, scope: Scope) -> None:
        """Let a job that crashed a worker have its turn, alone; asked once a second at most."""
        now_s = self.clock.boottime_s()
        if now_s - self._looked_s >= _LOOK_FOR_CRASHED_S:
            self._looked_s = now_s
            left_out = self.drawing.circuits.open_names
            if crashed_waiting(self.ledger, self.queues, scope, left_out=left_out):
                self._crowd.want_alone()

    def send_outgoing(self) -> SyncReport:
        """Send what is due in the outbox; one thread does it for all."""
        self.client.delete(outbox_key(self.host))
        if self.sync is None:
            return SyncReport()
        with self._sending:
            # Stopping must not wait for a long backlog.
            return replace(self.sync, should_stop=self._stopping.is_set).drain()

    def _rest(self) -> None:
        # The wake-up is used up, and the feeder sends another: without a rest they would chase each
        # other through the whole window every second.
        self._stopping.wait(_REST_S)

    def deliver_all(self) -> list[ClaimOutcome]:
        """Deliver what waits for this host, 64 at a time; one thread does it for all.

        After a thousand it sends a wake-up and returns: no task runs as long as a bulk run does.

        Measured: four threads at it were half as fast as one, and drains of one or two images each
        cost twice the processor of drains that let them gather. The first drain never waits.
        """
        outcomes: list[ClaimOutcome] = []
        claimant = Claimant(self.owner, [], self.lease_s)
        with self._draining:
            # Dropped first: what is generated from now on sends a wake-up of its own.
            self.client.delete(drain_key(self.host))
            while not self._stopping.is_set():
                if len(outcomes) >= _MOST_DELIVERIES:
                    self.delivery.publisher.wake_results(self.host)
                    break
                done = self.delivery.deliver_next(claimant, host=self.host)
                if not done:
                    break
                is_stream = bool(outcomes)
                outcomes += done
                if is_stream and len(done) < DRAIN_SIZE:
                    self._stopping.wait(_GATHER_S)
        return outcomes

    def check_ledger(self, named: str | None) -> None:
        """Refuse a message whose job is in another ledger.

        Raises:
            LedgerMismatch: it names another ledger than this worker's.
        """
        if named is not None and named != str(self.ledger_id):
            raise LedgerMismatch(
                f"the message names ledger {named}, but this worker is on {self.ledger_id} "
                f"at {self.ledger.address}",
                "point this worker's database.url at the ledger that the jobs were submitted to",
            )

    def begin_stop(self) -> None:
        """Claim nothing more; when the grace is over, give everything back and leave."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        log.info("worker_stopping", extra={"held": len(self.heartbeat.held())})
        timer = threading.Timer(self.grace_s, self._leave_now)
        timer.daemon = True
        timer.start()

    def stop(self) -> None:
        """The clean end, after everything that ran has finished."""
        self._stopping.set()
        if self.caretaker is not None:
            self.caretaker.stop()
        self.drawing.circuits.stop()
        self.heartbeat.stop()
        give_back_all(self.ledger, self.heartbeat)
        try:
            if self.sync is not None:
                give_back_outgoing(self.ledger, [self.owner])
            sign_off_worker(self.ledger, self.owner)
        except LedgerError as error:
            log.warning("worker_not_signed_off", extra={"why": str(error)})
        if self._presence is not None:
            self._presence.leave()
            self._presence = None

    def _leave_now(self) -> None:
        # Threads that block in a backend cannot be ended; their jobs go on there, and the next
        # claim resumes them by the id that is in the ledger.
        log.warning("grace_over", extra={"held": len(self.heartbeat.held())})
        self.stop()
        self.exit_process(0)
