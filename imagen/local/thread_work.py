"""What the threads of a run do: draw, deliver, and send what waits in the outbox."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field

from imagen.domain.job import JobState
from imagen.domain.scope import Scope
from imagen.errors import ImagenError, OutOfCredit
from imagen.ledger.jobs.claim import Claimant
from imagen.local.local_publisher import LocalPublisher
from imagen.local.run_threads import RunThreads
from imagen.services.deliver.host_delivery import HostDelivery
from imagen.services.draw.isolation import IsolatedDrawing
from imagen.services.leases.lease_holder import LeaseHolder
from imagen.services.sync.send import OutboxSender

log = logging.getLogger(__name__)

#: Seconds between two looks for images that other processes have generated.
_DELIVER_EVERY_S = 2.0
#: Seconds between two looks at the outbox for what was put off.
_SEND_EVERY_S = 5.0


@dataclass(frozen=True)
class DrawWork:
    """Draws the jobs of one queue after the other; several threads of a queue share it."""

    isolated: IsolatedDrawing
    holder: LeaseHolder
    publisher: LocalPublisher
    #: Set while so much waits for delivery that nothing more may be drawn.
    is_full: threading.Event = field(default_factory=threading.Event)

    def run(self, scope: Scope, queue: str, threads: RunThreads) -> None:
        claimant = self.holder.claimant([queue], scope)
        sleeping = self.publisher.drawers[queue]
        has_drawn = False
        while not threads.stopping.is_set():
            if threads.guarded(lambda: self.draw_one(claimant, threads)):
                has_drawn = True
                continue
            if has_drawn:
                # Only now: a look after each job took a tenth of the time of a long run.
                self.publisher.look_wanted.set()
                has_drawn = False
            sleeping.sleep()

    def draw_one(self, claimant: Claimant, threads: RunThreads) -> bool:
        """Draw one job; says whether there was one. An empty account ends the run."""
        if self.is_full.is_set():
            return False
        outcome = self.isolated.draw_next(claimant)
        if outcome is None:
            return False
        if isinstance(outcome.error, OutOfCredit):
            threads.end_with(outcome.error)
        self.publisher.tell_outcome(outcome)
        return True


@dataclass(frozen=True)
class DeliverWork:
    """Delivers what this process or another one of this host has generated."""

    delivery: HostDelivery
    publisher: LocalPublisher

    def run(self, scope: Scope, threads: RunThreads) -> None:
        wanted = self.publisher.delivery_wanted
        has_delivered = False
        while not threads.stopping.is_set():
            wanted.clear()
            if threads.guarded(lambda: self._deliver_some(scope)):
                has_delivered = True
                continue
            if has_delivered:
                self.publisher.look_wanted.set()
                has_delivered = False
            wanted.wait(_DELIVER_EVERY_S)

    def _deliver_some(self, scope: Scope) -> bool:
        outcomes = self.delivery.deliver_some(scope)
        for outcome in outcomes:
            self.publisher.tell_outcome(outcome)
            if outcome.state is JobState.QUEUED:
                self.publisher.wake_drawers()
        return bool(outcomes)


@dataclass(frozen=True)
class SendWork:
    """Sends what is due in the outbox; what cannot be sent now stays there and ends nothing."""

    sync: OutboxSender
    publisher: LocalPublisher

    def run(self, threads: RunThreads) -> None:
        wanted = self.publisher.sending_wanted
        while not threads.stopping.is_set():
            wanted.clear()
            try:
                self.sync.drain(should_stop=threads.stopping.is_set)
            except ImagenError as error:
                log.warning("outbox_not_sent", extra={"why": str(error)})
            wanted.wait(_SEND_EVERY_S)
