"""What to do while the ledger is away: repeat a write, and end a run when it stays away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from imagen.domain.protocols import Clock
from imagen.errors import LedgerClosed, LedgerUnavailable

log = logging.getLogger(__name__)


T = TypeVar("T")


def retry_while_unavailable(work: Callable[[], T], *, clock: Clock, patience_s: float = 120.0) -> T:
    """The result of ``work``, tried again while the ledger is unreachable.

    For fenced writes only: one whose commit went through although its answer was lost finds its
    fence gone when it is tried again, and so does nothing twice.

    Raises:
        LedgerClosed: this process has closed it, so it is not tried again.
        LedgerUnavailable: it stayed unreachable for ``patience_s`` seconds.
    """
    deadline_s = clock.boottime_s() + patience_s
    wait_s = 0.1
    while True:
        try:
            return work()
        except LedgerClosed:
            raise
        except LedgerUnavailable as error:
            if clock.boottime_s() + wait_s > deadline_s:
                raise
            log.warning("ledger_write_postponed", extra={"error": error.message, "wait_s": wait_s})
            clock.sleep(wait_s)
            wait_s = min(2 * wait_s, 5.0)


@dataclass
class LedgerPatience:
    """For how long the ledger may be away before that ends a run. Threads may share it."""

    clock: Clock
    patience_s: float = 60.0
    _seen_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._seen_s = self.clock.boottime_s()

    def note_answer(self) -> None:
        """The ledger has answered."""
        self._seen_s = self.clock.boottime_s()

    def note_absence(self, error: LedgerUnavailable) -> None:
        """The ledger is away.

        Raises:
            LedgerUnavailable: ``error``; it has been away for longer than ``patience_s``.
        """
        if self.clock.boottime_s() - self._seen_s > self.patience_s:
            raise error
