"""What earlier attempts tell about later ones: usual durations, and whose a provider's id is."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from sqlalchemy import select

from imagen.domain.job import AttemptState
from imagen.ledger.engine import Ledger
from imagen.ledger.tables import attempts

_LAST_FEW = 20


@dataclass(frozen=True, slots=True)
class AttemptHistory:
    """Implements ``Durations`` and ``AttemptIndex`` of the domain from the attempts table."""

    ledger: Ledger

    def expected_s(self, backend: str) -> float | None:
        """The median latency of the last twenty drawn attempts of ``backend``, in seconds."""
        statement = (
            select(attempts.c.latency_ms)
            .where(
                attempts.c.backend == backend,
                attempts.c.state == AttemptState.DRAWN,
                attempts.c.latency_ms.is_not(None),
            )
            .order_by(attempts.c.finished_at.desc(), attempts.c.id.desc())
            .limit(_LAST_FEW)
        )
        with self.ledger.read() as connection:
            found = list(connection.scalars(statement))
        return statistics.median(found) / 1000 if found else None

    def owned(self, place: str, external_ids: tuple[str, ...]) -> frozenset[str]:
        """Those of ``external_ids`` at ``place`` that an attempt has already."""
        if not external_ids:
            return frozenset()
        statement = select(attempts.c.external_id).where(
            attempts.c.place == place, attempts.c.external_id.in_(external_ids)
        )
        with self.ledger.read() as connection:
            return frozenset(connection.scalars(statement))
