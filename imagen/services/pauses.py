"""Says to whoever waits that nobody draws for now, because a backend is paused, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

from imagen.domain.job import JobState
from imagen.ledger.control import paused_backends
from imagen.ledger.engine import Ledger
from imagen.ledger.lookup import unfinished_places
from imagen.ledger.scope import Scope


@dataclass
class PauseNews:
    """Remembers what it has said; a pause that was lifted and came again is news."""

    ledger: Ledger
    _said: dict[str, str] = field(default_factory=dict)

    def since_last(self, scope: Scope) -> dict[str, str]:
        """The reason by backend, of the pauses that jobs of ``scope`` wait for since just now.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        reasons = paused_backends(self.ledger)
        if not reasons:
            self._said = {}
            return {}
        waiting = {
            place.backend
            for place in unfinished_places(self.ledger, scope)
            if place.state is JobState.QUEUED
        }
        met = {name: reason for name, reason in reasons.items() if name in waiting}
        news = {name: reason for name, reason in met.items() if self._said.get(name) != reason}
        self._said = {name: why for name, why in self._said.items() if name in reasons} | met
        return news
