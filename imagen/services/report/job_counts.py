"""How many jobs of a run are drawn, failed, canceled or unfinished."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from imagen.domain.job import JobState
from imagen.domain.scope import Scope
from imagen.ledger.queries.jobs import count_states
from imagen.ledger.store.engine import Ledger


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Jobs by what became of them."""

    drawn: int = 0
    failed: int = 0
    canceled: int = 0
    unfinished: int = 0

    @property
    def over(self) -> int:
        """How many have ended."""
        return self.drawn + self.failed + self.canceled


def count_jobs(ledger: Ledger, scopes: Iterable[Scope]) -> JobCounts:
    """The counts of all these scopes together, whichever process drew the jobs."""
    drawn = failed = canceled = unfinished = 0
    for scope in scopes:
        states = count_states(ledger, scope)
        drawn += states.get(JobState.SUCCEEDED, 0)
        failed += states.get(JobState.FAILED, 0)
        canceled += states.get(JobState.CANCELED, 0)
        unfinished += sum(number for state, number in states.items() if not state.is_terminal)
    return JobCounts(drawn, failed, canceled, unfinished)
