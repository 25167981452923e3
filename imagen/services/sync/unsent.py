"""What has not left the ledger yet, and why: items of the outbox, and usage that is not in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from imagen.domain.scope import Scope
from imagen.ledger.outbox.backlog import Backlog, backlog, count_paid_here_only, kept_usage
from imagen.ledger.outbox.outbox import count_pending
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.outgoing_tables import CLOUD_SINK, USAGE_SINK

_KEPT = "recorded while no project was configured; sent by: imagen sync"


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """All that has not left the ledger.

    ``left`` counts it by sink, ``waiting`` says why. ``kept_usage`` is the number of usage rows
    that were recorded while no project was configured; ``left`` has them once there is one.
    """

    left: Mapping[str, int]
    waiting: tuple[Backlog, ...]
    kept_usage: int = 0

    @property
    def number(self) -> int:
        """How many items have not left the ledger."""
        return sum(self.left.values())

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        return {
            "left": dict(self.left),
            "waiting": [
                {
                    "sink": each.sink,
                    "number": each.number,
                    "why": each.why or None,
                    "oldest_at": each.oldest_at.isoformat(),
                    "being_sent": each.held,
                }
                for each in self.waiting
            ],
        }


def sync_status(ledger: Ledger, *, sends_usage: bool, counts_kept: bool) -> SyncStatus:
    """What waits to leave the ledger.

    ``sends_usage`` tells whether usage rows of this ledger go to another database, ``counts_kept``
    whether rows that were never put into the outbox are looked for.

    Raises:
        LedgerError: the ledger is away.
    """
    kept = kept_usage(ledger) if counts_kept else None
    left = {USAGE_SINK: 0, CLOUD_SINK: 0} | count_pending(ledger)
    waiting = backlog(ledger)
    if kept is not None and sends_usage:
        left[USAGE_SINK] += kept.number
        waiting.append(replace(kept, why=_KEPT))
    return SyncStatus(left, tuple(waiting), 0 if kept is None else kept.number)


def find_unsent(ledger: Ledger, scope: Scope, *, sends_usage: bool) -> list[Backlog]:
    """What of the scope's jobs has not left the ledger, by reason, the most frequent first."""
    kept = kept_usage(ledger, scope) if sends_usage else None
    return backlog(ledger, scope) + ([] if kept is None else [replace(kept, why=_KEPT)])


def is_paid_here_only(ledger: Ledger, scope: Scope) -> bool:
    """Whether an image of the scope cost money, or may have, and only a SQLite ledger records it.

    A PostgreSQL ledger may be all that its owner wants.
    """
    return ledger.kind != "postgresql" and count_paid_here_only(ledger, scope) > 0
