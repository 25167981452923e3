"""Under which name, for which host and for how long a process takes jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imagen.domain.scope import EVERYTHING, Scope
from imagen.ledger.jobs.claim import Claimant


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """One process as the ledger knows it; ``owner`` is unique per process start."""

    owner: str
    host: str
    lease_s: float

    def claimant(
        self,
        queues: Sequence[str] = (),
        scope: Scope = EVERYTHING,
        *,
        backends: Sequence[str] | None = None,
    ) -> Claimant:
        """The claim of this process to jobs of these queues; to deliver, no queue is named."""
        return Claimant(self.owner, queues, self.lease_s, scope, backends=backends)
