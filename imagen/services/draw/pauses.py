"""Pauses of backends: by account for all processes, told to those who wait, and lifted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from imagen.domain.job import JobState
from imagen.domain.scope import Scope
from imagen.errors import CredentialError, ImagenError, OutOfCredit
from imagen.ledger.jobs.control import pause_backend, pauses_with_codes
from imagen.ledger.queries.jobs import unfinished_places
from imagen.ledger.store.engine import Ledger


@dataclass
class StandstillNews:
    """Why backends draw nothing now, each reason once; one that ended and came again is news.

    ``read`` gives the reasons by backend.
    """

    ledger: Ledger
    read: Callable[[], Mapping[str, str]]
    _said: dict[str, str] = field(default_factory=dict)

    def since_last(self, scope: Scope) -> dict[str, str]:
        """The reasons by backend that jobs of ``scope`` wait for since just now.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        reasons = self.read()
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


def pause_account(
    ledger: Ledger, backends: Sequence[str], error: ImagenError, *, pause_s: float
) -> None:
    """Stop claiming jobs of these backends, which share an account, because of ``error``.

    For ``pause_s`` seconds; where that is infinite, until ``imagen backends resume``.
    """
    limited_s = None if math.isinf(pause_s) else pause_s
    for name in backends:
        pause_backend(ledger, name, reason=str(error), pause_s=limited_s, code=error.code)


def require_usable_account(ledger: Ledger, scope: Scope) -> None:
    """Nothing while any unfinished job of ``scope`` may still be drawn.

    Raises:
        OutOfCredit, CredentialError: the backend of each of them is paused for that reason.
        LedgerUnavailable: the ledger is away.
    """
    pauses = {
        name: each
        for name, each in pauses_with_codes(ledger).items()
        if each[0] in (OutOfCredit.code, CredentialError.code)
    }
    if not pauses:
        return
    places = unfinished_places(ledger, scope)
    if not places or any(
        place.state is not JobState.QUEUED or place.backend not in pauses for place in places
    ):
        return
    backend = places[0].backend
    code, reason = pauses[backend]
    message = f"backend {backend!r} is paused: {reason}"
    how = f"imagen backends resume {backend}"
    if code == OutOfCredit.code:
        raise OutOfCredit(message, f"the jobs wait; to go on at once: {how}")
    raise CredentialError(message, f"the jobs wait; when the token is mended: {how}")
