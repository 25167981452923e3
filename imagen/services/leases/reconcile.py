"""Reconciles the ledger with the processes that live: takes back jobs, removes what is not needed.

Each results and cloud worker and each waiting command calls it every few seconds; a named lock lets
one of them work at a time. Nothing is published inside a transaction.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from imagen.domain.protocols import Clock
from imagen.errors import LedgerUnavailable
from imagen.ledger.jobs.artifacts import drop_files, forget_artifacts, obsolete_keys, orphan_files
from imagen.ledger.jobs.leases import end_canceled, lease_owners, take_back
from imagen.ledger.jobs.named_locks import lock_owner, release_lock, take_lock
from imagen.ledger.jobs.worker_rows import forget_workers
from imagen.ledger.outbox.outbox import give_back_outgoing, outgoing_owners
from imagen.ledger.store.engine import Ledger
from imagen.services.leases import process_lock

log = logging.getLogger(__name__)

LOCK_NAME = "reconcile"
#: After the death of the process that reconciled, those of other hosts wait for so long; less where
#: leases are short.
MAX_LOCK_LEASE_S = 10.0
#: Sweeping reads folders and joins tables, so it is done less often than taking back.
_SWEEP_EVERY_S = 60.0
_FORGET_WORKERS_S = 86_400.0


@dataclass
class Reconciler:
    """The part of one process in reconciling the ledger."""

    ledger: Ledger
    owner: str
    clock: Clock
    max_crashes: int
    lock_folder: Path
    lease_s: float = 30.0
    _swept_s: float = field(default=float("-inf"))
    _swept_locks_s: float = field(default=float("-inf"))
    _looked_s: float | None = None
    _was_away: bool = False
    _slept: bool = False
    _spares_until_s: float = field(default=float("-inf"))

    def tick(self) -> bool:
        """Do one round unless another process has the lock; returns whether it was done here.

        Jobs of dead processes of this host are taken back either way.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        try:
            has_turn = self._take_turn()
        except LedgerUnavailable:
            self._was_away = True
            raise
        self._note_gap()
        # Which processes of this host have died is known on this host only.
        self._take_back(only_dead=not has_turn)
        free_outbox(self.ledger, self.lock_folder)
        self._sweep_lock_files()
        if not has_turn:
            return False
        end_canceled(self.ledger)
        if self.clock.boottime_s() - self._swept_s > _SWEEP_EVERY_S:
            self._swept_s = self.clock.boottime_s()
            self._sweep()
        return True

    def leave(self) -> None:
        """Release the lock, so that another process can reconcile at once."""
        release_lock(self.ledger, LOCK_NAME, self.owner)

    def _take_turn(self) -> bool:
        lease_s = min(MAX_LOCK_LEASE_S, self.lease_s / 3)
        if take_lock(self.ledger, LOCK_NAME, self.owner, lease_s=lease_s):
            return True
        holder = lock_owner(self.ledger, LOCK_NAME)
        if holder is None or not process_lock.dead_among(self.lock_folder, [holder]):
            return False
        release_lock(self.ledger, LOCK_NAME, holder)
        return take_lock(self.ledger, LOCK_NAME, self.owner, lease_s=lease_s)

    def _note_gap(self) -> None:
        """After a database outage or a suspend, live owners get one lease to renew theirs in.

        Until then expired leases are not taken back: no process could renew them.
        """
        now_s = self.clock.boottime_s()
        slept = self._looked_s is not None and now_s - self._looked_s > self.lease_s
        # A process that reconciles less often than leases last would never take anything back.
        slept = slept and not self._slept
        if slept or self._was_away:
            self._spares_until_s = now_s + self.lease_s
        self._slept = slept
        self._looked_s, self._was_away = now_s, False

    def _take_back(self, *, only_dead: bool) -> None:
        owners = lease_owners(self.ledger)
        dead = process_lock.dead_among(self.lock_folder, owners - {self.owner})
        if only_dead and not dead:
            return
        taken = take_back(
            self.ledger,
            max_crashes=self.max_crashes,
            dead=dead,
            alive=process_lock.alive_among(self.lock_folder, owners) | {self.owner},
            only_dead=only_dead or self.clock.boottime_s() < self._spares_until_s,
        )
        if taken:
            log.info("jobs_taken_back", extra={"jobs": taken, "dead_owners": sorted(dead)})

    def _sweep(self) -> None:
        keys = obsolete_keys(self.ledger)
        if keys:
            with self.ledger.write() as connection:
                forget_artifacts(connection, keys)
        drop_files(self.ledger, keys)
        drop_files(self.ledger, orphan_files(self.ledger))
        forget_workers(self.ledger, unseen_s=_FORGET_WORKERS_S)

    def _sweep_lock_files(self) -> None:
        """Once a minute, also where another host has the lock: these files are on this host."""
        now_s = self.clock.boottime_s()
        if now_s - self._swept_locks_s > _SWEEP_EVERY_S:
            self._swept_locks_s = now_s
            leasing = lease_owners(self.ledger) | outgoing_owners(self.ledger)
            process_lock.sweep(self.lock_folder, still_leasing=leasing)


def free_outbox(ledger: Ledger, lock_folder: Path) -> None:
    """Give back what processes of this host held in the outbox when they died.

    Raises:
        LedgerUnavailable: the ledger is away.
    """
    give_back_outgoing(ledger, process_lock.dead_among(lock_folder, outgoing_owners(ledger)))
