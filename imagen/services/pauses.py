"""Says to whoever waits that nobody draws for now, because a backend is paused, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

from imagen.domain.job import JobState
from imagen.errors import OutOfCredit
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


def require_credit(ledger: Ledger, scope: Scope) -> None:
    """Nothing while any unfinished job of ``scope`` may still be drawn.

    Raises:
        OutOfCredit: the backend of each of them is paused for lack of credit.
        LedgerUnavailable: the ledger is away.
    """
    reasons = paused_backends(ledger, code=OutOfCredit.code)
    if not reasons:
        return
    places = unfinished_places(ledger, scope)
    if not places or any(
        place.state is not JobState.QUEUED or place.backend not in reasons for place in places
    ):
        return
    backend = places[0].backend
    raise OutOfCredit(
        f"backend {backend!r} is paused: {reasons[backend]}",
        f"the jobs wait; to go on at once: imagen backends resume {backend}",
    )
