"""Empties the outbox: usage rows and cloud copies go where they belong, sooner or later.

Best effort, never lossy: whatever a sink says, the parcel stays until it arrived. Any process that
sees the bytes may send it, on any day, and twice is the same as once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from imagen.domain.protocols import Clock
from imagen.errors import ArtifactLost, CloudError, ImagenError
from imagen.images.verify import BrokenImage
from imagen.ledger.artifacts import drop_artifacts_of
from imagen.ledger.engine import Ledger
from imagen.ledger.outbox import Outgoing, claim_outgoing, put_off, record_sent
from imagen.ledger.sinks import CLOUD_SINK

log = logging.getLogger(__name__)

_ROUND = 16
_FIRST_WAIT_S = 5.0
_LONGEST_WAIT_S = 3600.0


class Sink(Protocol):
    """Somewhere that parcels of one kind go to."""

    def send(self, outgoing: Outgoing) -> None:
        """Deliver one parcel; sending it again changes nothing.

        Raises:
            CloudError: it did not arrive; ``only_this`` tells whether others may.
            ArtifactLost: its bytes cannot be seen from here.
        """


@dataclass
class SyncReport:
    """What a drain did: parcels that arrived and that did not, and why not, by sink."""

    sent: int = 0
    failed: int = 0
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sync:
    """Sends what waits in the outbox through the sinks that are configured here."""

    ledger: Ledger
    owner: str
    clock: Clock
    #: By the outbox's name of the sink; one that is missing is not configured.
    sinks: Mapping[str, Sink]
    #: What is missing, for people: "set SUPABASE_URL".
    missing: str = ""
    should_stop: Callable[[], bool] = lambda: False

    def drain(
        self, *, job_id: UUID | None = None, now: bool = False, timeout_s: float | None = None
    ) -> SyncReport:
        """Send everything that is due; with ``now`` also what was put off.

        Each parcel is tried once. Stops beginning new ones after ``timeout_s`` seconds.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        report = SyncReport()
        ends_s = None if timeout_s is None else self.clock.boottime_s() + timeout_s
        tried: set[UUID] = set()
        while not self.should_stop():
            if ends_s is not None and self.clock.boottime_s() > ends_s:
                break
            parcels = claim_outgoing(
                self.ledger, self.owner, limit=_ROUND, job_id=job_id, now=now, but=tried
            )
            if not parcels:
                break
            tried.update(parcel.id for parcel in parcels)
            self._send_all(parcels, report)
        return report

    def _send_all(self, parcels: list[Outgoing], report: SyncReport) -> None:
        # Why a whole sink refuses: the rest of the round would be refused for the same reason.
        closed: dict[str, str] = {}
        for parcel in parcels:
            reason = closed.get(parcel.sink) or self._send(parcel, closed)
            if reason is None:
                report.sent += 1
                continue
            report.failed += 1
            report.reasons[parcel.sink] = reason
            wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(parcel.tries, 16))
            put_off(self.ledger, parcel, self.owner, wait_s=wait_s, reason=reason)
            log.warning(
                "parcel_put_off",
                extra={"job_id": str(parcel.job.id), "sink": parcel.sink, "why": reason},
            )

    def _send(self, parcel: Outgoing, closed: dict[str, str]) -> str | None:
        """Nothing when it arrived, else why not."""
        sink = self.sinks.get(parcel.sink)
        if sink is None:
            return closed.setdefault(parcel.sink, f"not configured here; {self.missing}")
        try:
            sink.send(parcel)
        except CloudError as error:
            if not error.only_this:
                closed[parcel.sink] = str(error)
            return str(error)
        except (ArtifactLost, BrokenImage) as error:
            return str(error)
        except ImagenError:
            raise
        except Exception as error:
            # A sink's bug must not keep other parcels from going out.
            log.exception("sink_raised", extra={"job_id": str(parcel.job.id)})
            return f"failed with {type(error).__name__}, a bug of imagen's"
        record_sent(self.ledger, parcel)
        if parcel.sink == CLOUD_SINK:
            drop_artifacts_of(self.ledger, parcel.job.id)
        return None
