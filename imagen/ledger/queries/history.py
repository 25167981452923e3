"""What earlier attempts tell about later ones: usual durations, and the owners of provider ids."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from imagen.domain.drawing_record import record_from_json
from imagen.domain.drawn import Work
from imagen.domain.job import AttemptState
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.tables import attempts

_LAST_FEW = 20
_LOOKED_THROUGH = 100


class NoHistory:
    """A history without attempts: for examining backends while the ledger cannot be read."""

    # The signatures are those of AttemptHistory.

    def expected_s(self, backend: str, work: Work | None = None) -> float | None:  # noqa: ARG002
        return None

    def owned(self, place: str, external_ids: tuple[str, ...]) -> frozenset[str]:  # noqa: ARG002
        return frozenset()


@dataclass(frozen=True, slots=True)
class AttemptHistory:
    """Implements ``Durations`` and ``AttemptIndex`` of the domain from the attempts table."""

    ledger: Ledger

    def expected_s(self, backend: str, work: Work | None = None) -> float | None:
        """The median latency of the last drawn attempts of ``backend``, in seconds.

        Of the last twenty; with ``work``, of those of that kind among the last hundred.
        """
        statement = (
            select(attempts.c.latency_ms, attempts.c.record)
            .where(
                attempts.c.backend == backend,
                attempts.c.state == AttemptState.DRAWN,
                attempts.c.latency_ms.is_not(None),
            )
            .order_by(attempts.c.finished_at.desc(), attempts.c.id.desc())
            .limit(_LAST_FEW if work is None else _LOOKED_THROUGH)
        )
        with self.ledger.read() as connection:
            rows = connection.execute(statement).all()
        found = [row.latency_ms for row in rows if work is None or _is_of_kind(row.record, work)]
        return statistics.median(found[:_LAST_FEW]) / 1000 if found else None

    def owned(self, place: str, external_ids: tuple[str, ...]) -> frozenset[str]:
        """Those ids at the server or account ``place`` that an attempt has already."""
        if not external_ids:
            return frozenset()
        statement = select(attempts.c.external_id).where(
            attempts.c.place == place, attempts.c.external_id.in_(external_ids)
        )
        with self.ledger.read() as connection:
            return frozenset(connection.scalars(statement))


def _is_of_kind(data: Mapping[str, Any] | None, work: Work) -> bool:
    """Whether an attempt's record is of that kind of work; False where it has none."""
    record = record_from_json(data)
    if record is None:
        return False
    return Work(record.model or "", record.steps, record.width, record.height) == work
