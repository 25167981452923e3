"""What a worker does for a wake-up: draw the best waiting job, or send the wake-up on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from imagen.domain.protocols import Clock
from imagen.domain.scope import Scope
from imagen.ledger.jobs.artifacts import full_hosts
from imagen.queue.publish.publisher import CeleryPublisher
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.draw.draw import DrawService
from imagen.services.draw.isolation import IsolatedDrawing
from imagen.services.leases.lease_holder import LeaseHolder

log = logging.getLogger(__name__)

#: How long a thread that may not draw now leaves the messages alone.
_REST_S = 0.2

_LOOK_FOR_SUSPECTS_S = 1.0


@dataclass
class WakeupDrawing:
    """Draws the jobs of some queues and backends in the threads of this process."""

    drawing: DrawService
    holder: LeaseHolder
    queues: Sequence[str]
    backends: Sequence[str]
    publisher: CeleryPublisher
    clock: Clock
    max_artifact_bytes: int
    stopping: threading.Event
    #: Hosts for which so much waits for delivery that nothing more is drawn for them.
    _full_hosts: tuple[str, ...] = ()
    _looked_s: float = float("-inf")
    _isolated: IsolatedDrawing = field(init=False)

    def __post_init__(self) -> None:
        self._isolated = IsolatedDrawing(self.drawing, on_refused=self._rest)

    def draw_one(self) -> ClaimOutcome | None:
        """Draw the best waiting job; None when none waits or this process is stopping."""
        if self.stopping.is_set():
            return None
        scope = Scope(without_hosts=self._full_hosts)
        self._look_for_suspects(scope)
        claimant = self.holder.claimant(self.queues, scope, backends=self.backends)
        outcome = self._isolated.draw_next(claimant)
        if outcome is None and (self.leaves_backends_out or self._full_hosts):
            # It is sent on, or sent again: without a rest this process would take it at once.
            self._rest()
        return outcome

    @property
    def leaves_backends_out(self) -> bool:
        """Whether a wake-up that is of no use here may be of use to another worker."""
        return bool(self.drawing.circuits.open_names) and not self.stopping.is_set()

    def pass_on(self, queue: str, task_id: str, label: str, *, retries: int = 0) -> None:
        """Send a wake-up that is of no use here to the other workers of its queue."""
        self.publisher.pass_on(queue, task_id, label, retries=retries)

    def look_for_full_hosts(self) -> None:
        """Draw nothing for hosts for which too much waits to be delivered.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        full = full_hosts(self.drawing.ledger, most_bytes=self.max_artifact_bytes)
        for host in set(full) - set(self._full_hosts):
            log.warning("host_full", extra={"host": host})
        self._full_hosts = full

    def _look_for_suspects(self, scope: Scope) -> None:
        """Let a job that crashed a worker be drawn alone; looked for once a second at most."""
        now_s = self.clock.boottime_s()
        if now_s - self._looked_s >= _LOOK_FOR_SUSPECTS_S:
            self._looked_s = now_s
            self._isolated.make_way_for_suspects(self.queues, scope)

    def _rest(self) -> None:
        # The wake-up is used up, and the top-up sends another: without a rest they would chase each
        # other through the whole window every second.
        self.stopping.wait(_REST_S)
