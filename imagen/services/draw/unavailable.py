"""Ends an embedded run whose every job waits for a backend that stays away."""

from __future__ import annotations

from imagen.domain.job import JobState
from imagen.domain.scope import Scope
from imagen.errors import BackendUnavailable
from imagen.ledger.queries.jobs import unfinished_places
from imagen.ledger.store.engine import Ledger
from imagen.services.draw.circuit import Circuits


def require_reachable_backend(
    ledger: Ledger, scope: Scope, circuits: Circuits, *, patience_s: float
) -> None:
    """Nothing while any unfinished job of ``scope`` may still be drawn by this process.

    Raises:
        BackendUnavailable: each of them waits for a backend that has refused every drawing for
            ``patience_s`` seconds; the jobs are kept.
        LedgerUnavailable: the ledger is away.
    """
    gone = {
        each.backend: each
        for each in circuits.all_open()
        if circuits.away_for_s(each.backend) >= patience_s
    }
    if not gone:
        return
    places = unfinished_places(ledger, scope)
    if not places or any(
        place.state is not JobState.QUEUED or place.backend not in gone for place in places
    ):
        return
    name = places[0].backend
    raise BackendUnavailable(
        f"backend {name!r} could not be used for {patience_s:g} s: {gone[name].why}",
        "the jobs wait; a longer patience: workers.unavailable_patience_s",
    )
