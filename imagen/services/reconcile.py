"""Puts right what processes left when they died: the one place that looks at everybody's jobs.

Each results and cloud worker and each waiting command calls it every second or few; a leased row
lets one of them work at a time. Nothing is published inside a transaction.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from imagen.domain.protocols import Clock
from imagen.ledger.artifacts import drop_files, forget_artifacts, leftover_keys, orphan_files
from imagen.ledger.engine import Ledger
from imagen.ledger.leases import (
    end_canceled,
    lease_owners,
    release_lock,
    take_back,
    take_lock,
)
from imagen.ledger.workers import forget_workers
from imagen.services import presence

log = logging.getLogger(__name__)

LOCK_NAME = "reconcile"
LOCK_LEASE_S = 15.0
#: Sweeping reads folders and joins tables, so it is done less often than taking back.
_SWEEP_EVERY_S = 60.0
_FORGET_WORKERS_S = 86_400.0


@dataclass
class Reconciler:
    """One process's share in looking after the ledger."""

    ledger: Ledger
    owner: str
    clock: Clock
    max_crashes: int
    presence_folder: Path
    _swept_s: float = field(default=float("-inf"))

    def tick(self) -> bool:
        """Do one round unless another process is at it; says whether it was done here.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        if not take_lock(self.ledger, LOCK_NAME, self.owner, lease_s=LOCK_LEASE_S):
            return False
        self._take_back()
        end_canceled(self.ledger)
        if self.clock.boottime_s() - self._swept_s > _SWEEP_EVERY_S:
            self._swept_s = self.clock.boottime_s()
            self._sweep()
        return True

    def leave(self) -> None:
        """Let another process have the turn at once."""
        release_lock(self.ledger, LOCK_NAME, self.owner)

    def _take_back(self) -> None:
        owners = lease_owners(self.ledger)
        dead = presence.dead_among(self.presence_folder, owners - {self.owner})
        taken = take_back(self.ledger, max_crashes=self.max_crashes, dead=dead)
        if taken:
            log.warning("jobs_taken_back", extra={"jobs": taken, "dead_owners": sorted(dead)})

    def _sweep(self) -> None:
        keys = leftover_keys(self.ledger)
        if keys:
            with self.ledger.write() as connection:
                forget_artifacts(connection, keys)
        drop_files(self.ledger, keys)
        drop_files(self.ledger, orphan_files(self.ledger))
        forget_workers(self.ledger, unseen_s=_FORGET_WORKERS_S)
        presence.sweep(self.presence_folder, still_leasing=lease_owners(self.ledger))
