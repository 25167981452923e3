"""Removes the lock files of dead processes on a host whose workers only draw.

Other workers and commands do it in their reconciler, which also reads the outbox; a worker on a
rented host has no right to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from imagen.domain.protocols import Clock
from imagen.ledger.jobs.leases import lease_owners
from imagen.ledger.store.engine import Ledger
from imagen.services.leases import process_lock

_EVERY_S = 60.0
#: Longer than any lease in the outbox: after it a dead owner's file is of no use.
_KEEP_S = 600.0


@dataclass
class LockSweep:
    """Checks this host's lock files once a minute; one for a worker process."""

    ledger: Ledger
    folder: Path
    clock: Clock
    _looked_s: float = float("-inf")
    #: Since when each file was seen without a living process.
    _dead_since_s: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        """Remove the files of processes that have been dead for ten minutes and hold no job.

        Raises:
            LedgerUnavailable: the ledger is away; nothing is removed.
        """
        now_s = self.clock.boottime_s()
        if now_s - self._looked_s < _EVERY_S:
            return
        self._looked_s = now_s
        dead = process_lock.dead_in(self.folder)
        self._dead_since_s = {owner: self._dead_since_s.get(owner, now_s) for owner in dead}
        old = {owner for owner, since_s in self._dead_since_s.items() if now_s - since_s >= _KEEP_S}
        if old:
            process_lock.sweep(self.folder, still_leasing=lease_owners(self.ledger) | (dead - old))
