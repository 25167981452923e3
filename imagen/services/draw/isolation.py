"""Lets a job that may crash its workers run alone, so that a crash is its own only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from imagen.domain.scope import Scope
from imagen.ledger.jobs.claim import Claimant
from imagen.ledger.queries.waiting_jobs import crashed_waiting
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.draw.draw import DrawService


@dataclass
class IsolationGate:
    """How many jobs this process draws now, and whether one is to be drawn alone."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _inside: int = 0
    _is_alone: bool = False
    _wants_alone: bool = False

    def want_alone(self) -> None:
        """A suspect waits: admit no other job until it was drawn."""
        with self._lock:
            self._wants_alone = True

    @contextmanager
    def entering(self) -> Iterator[bool | None]:
        """Yields which jobs may be claimed: ``False`` all but suspects, ``True`` only those
        (alone in this process), ``None`` when nothing may be claimed now.
        """
        with self._lock:
            admitted = self._admit()
        try:
            yield admitted
        finally:
            if admitted is not None:
                with self._lock:
                    self._inside -= 1
                    if admitted:
                        self._is_alone = False

    def _admit(self) -> bool | None:
        if self._is_alone or (self._wants_alone and self._inside > 0):
            return None
        self._inside += 1
        if self._wants_alone:
            self._wants_alone = False
            self._is_alone = True
            return True
        return False


@dataclass(frozen=True)
class IsolatedDrawing:
    """Draws jobs in the threads of this process, and a job that crashed workers alone."""

    drawing: DrawService
    gate: IsolationGate = field(default_factory=IsolationGate)
    #: Called by a thread that may claim nothing while another one draws alone.
    on_refused: Callable[[], None] = lambda: None

    def draw_next(self, claimant: Claimant) -> ClaimOutcome | None:
        """Claim the best waiting job that may be drawn now, and draw it; None where there is none.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        with self.gate.entering() as crashed:
            if crashed is None:
                self.on_refused()
                return None
            outcome = self.drawing.draw_next(claimant, crashed=crashed)
        if crashed and outcome is not None:
            # There may be another suspect.
            self.gate.want_alone()
        return outcome

    def make_way_for_suspects(self, queues: Sequence[str], scope: Scope) -> None:
        """Where a job that crashed workers waits, let it be drawn next, alone.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        left_out = self.drawing.circuits.open_names
        if crashed_waiting(self.drawing.ledger, queues, scope, left_out=left_out):
            self.gate.want_alone()
