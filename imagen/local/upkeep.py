"""What a run looks after every few seconds: dead processes, suspects, and undelivered images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from imagen.domain.protocols import Clock
from imagen.domain.scope import Scope
from imagen.errors import LedgerUnavailable
from imagen.ledger.jobs.artifacts import undelivered_bytes
from imagen.local.thread_work import DrawWork
from imagen.services.leases.reconcile import Reconciler

log = logging.getLogger(__name__)

_EVERY_S = 5.0


@dataclass
class LocalUpkeep:
    """Reconciles, lets suspects be drawn alone, and holds the drawing back while too many bytes
    are undelivered."""

    reconciler: Reconciler
    draw_work: DrawWork
    queues: Sequence[str]
    max_artifact_bytes: int
    clock: Clock
    _done_s: float = float("-inf")

    def is_due(self) -> bool:
        """Whether five seconds are over; at any time while the drawing is held back."""
        is_full = self.draw_work.is_full.is_set()
        return is_full or self.clock.boottime_s() - self._done_s >= _EVERY_S

    def run(self, scope: Scope) -> None:
        """Do it now.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        self._done_s = self.clock.boottime_s()
        self.reconciler.tick()
        isolated, is_full = self.draw_work.isolated, self.draw_work.is_full
        isolated.make_way_for_suspects(self.queues, scope)
        if undelivered_bytes(isolated.drawing.ledger, scope) > self.max_artifact_bytes:
            is_full.set()
        else:
            is_full.clear()

    def leave(self) -> None:
        """Let another process reconcile."""
        try:
            self.reconciler.leave()
        except LedgerUnavailable as error:
            # The turn ends by itself.
            log.debug("turn_not_given_up", extra={"why": str(error)})
