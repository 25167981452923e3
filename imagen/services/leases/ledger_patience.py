"""Rides out a ledger that is away for a while: a database that is restarted comes back."""

from __future__ import annotations

from dataclasses import dataclass, field

from imagen.domain.protocols import Clock
from imagen.errors import LedgerUnavailable


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
