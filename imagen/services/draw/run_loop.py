"""The loop of a run: looks at the ledger until no job of a scope is unfinished."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from imagen.domain.protocols import Clock
from imagen.domain.scope import Scope
from imagen.errors import LedgerUnavailable
from imagen.ledger.queries.unfinished_jobs import has_unfinished
from imagen.ledger.store.engine import Ledger
from imagen.services.leases.ledger_outage import LedgerPatience

#: By how much each pause is longer than the one before, while nothing happens.
_SLOW_DOWN = 1.5


@dataclass(frozen=True)
class RunLoop:
    """Looks again and again, the longer the more seldom, also while the ledger is away."""

    ledger: Ledger
    clock: Clock
    patience: LedgerPatience
    stopping: threading.Event
    #: The pause after something happened, and the longest one.
    first_pause_s: float
    last_pause_s: float

    def run(
        self,
        scope: Scope,
        look: Callable[[bool], None],
        pause: Callable[[float], bool],
        *,
        forever: bool = False,
        timeout_s: float | None = None,
    ) -> bool | None:
        """True when nothing of ``scope`` is unfinished, False after ``timeout_s`` seconds, None
        when it was stopped.

        ``pause`` blocks for so many seconds at most, and says whether something happened. ``look``
        is told so, and does what is to be done between two pauses. With ``forever`` finished jobs
        end nothing.

        Raises:
            LedgerUnavailable: the ledger was away for longer than the patience.
        """
        ends_s = None if timeout_s is None else self.clock.boottime_s() + timeout_s
        pause_s, is_news = self.first_pause_s, False
        while not self.stopping.is_set():
            try:
                if not forever and not has_unfinished(self.ledger, scope):
                    return True
                look(is_news)
                self.patience.note_answer()
            except LedgerUnavailable as error:
                self.patience.note_absence(error)
            left_s = pause_s if ends_s is None else ends_s - self.clock.boottime_s()
            if left_s <= 0:
                return False
            is_news = pause(min(pause_s, left_s))
            slower_s = min(self.last_pause_s, pause_s * _SLOW_DOWN)
            pause_s = self.first_pause_s if is_news else slower_s
        return None
