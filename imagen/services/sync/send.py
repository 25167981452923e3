"""Empties the outbox: sends usage rows and copies of images to their sinks.

An item stays in the outbox until it has arrived, whatever errors its sink answers with. Any process
that can read the image may send it at any time, and sending it twice changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from imagen.domain.scope import EVERYTHING, Scope
from imagen.errors import CloudError, ImagenError, LedgerError
from imagen.images.broken import BrokenImage
from imagen.ledger.jobs.artifacts import drop_artifacts_of
from imagen.ledger.outbox.outbox import (
    OutboxItem,
    claim_outgoing,
    give_back_items,
    put_off,
    record_sent,
)
from imagen.ledger.outbox.supabase_rows import forget_silence
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.outgoing_tables import CLOUD_SINK

log = logging.getLogger(__name__)

_ROUND = 16
_FIRST_WAIT_S = 5.0
_LONGEST_WAIT_S = 3600.0


class Sink(Protocol):
    """Takes the outbox items of one kind."""

    def send(self, item: OutboxItem) -> None:
        """Send one item; sending it again changes nothing.

        Raises:
            CloudError: it did not arrive; ``only_this`` tells whether others may.
            ArtifactLost: its bytes cannot be seen from here.
        """


@dataclass
class SendReport:
    """How many items arrived and how many did not; ``reasons`` says by sink why."""

    sent: int = 0
    failed: int = 0
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class OutboxSender:
    """Sends outbox items through the sinks that this process is configured for."""

    ledger: Ledger
    owner: str
    #: By their names in the outbox; a sink that is not configured is left out.
    sinks: Mapping[str, Sink]
    #: Why a sink is left out, for people: "set SUPABASE_URL", or what is wrong with its value.
    missing: str = ""

    def drain(
        self,
        scope: Scope = EVERYTHING,
        *,
        now: bool = False,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> SendReport:
        """Send what is due of the scope's jobs; with ``now`` also what was put off.

        Each item is tried once. Begins no other once ``should_stop`` says so; the one that is under
        way may block for a minute.

        Raises:
            LedgerError: the ledger is away.
        """
        report = SendReport()
        after = None
        while not should_stop():
            items = claim_outgoing(
                self.ledger, self.owner, limit=_ROUND, scope=scope, now=now, after=after
            )
            if not items:
                break
            after = items[-1].sort_key
            self._send_all(items, report, should_stop)
        if report.sent:
            forget_silence(self.ledger)
        return report

    def _send_all(
        self, items: list[OutboxItem], report: SendReport, should_stop: Callable[[], bool]
    ) -> None:
        # Sinks that refuse every item, with the reason: the rest of the round is not tried there.
        closed: dict[str, str] = {}
        for number, item in enumerate(items):
            if should_stop():
                give_back_items(self.ledger, items[number:], self.owner)
                return
            reason = closed.get(item.sink) or self._send(item, closed)
            if reason is None:
                report.sent += 1
                continue
            report.failed += 1
            report.reasons[item.sink] = reason
            wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(item.tries, 16))
            put_off(self.ledger, item, self.owner, wait_s=wait_s, reason=reason)
            # At info level: commands print the reason themselves.
            log.info(
                "outbox_item_put_off",
                extra={"job_id": str(item.job.id), "sink": item.sink, "why": reason},
            )

    def _send(self, item: OutboxItem, closed: dict[str, str]) -> str | None:
        """None when it arrived, else the reason why not."""
        sink = self.sinks.get(item.sink)
        if sink is None:
            return closed.setdefault(item.sink, f"not configured here; {self.missing}")
        try:
            sink.send(item)
        except CloudError as error:
            if not error.only_this:
                closed[item.sink] = str(error)
            return str(error)
        except LedgerError:
            raise
        except (ImagenError, BrokenImage) as error:
            return str(error)
        except Exception as error:
            # A sink's bug must not keep other items from going out.
            log.exception("sink_raised", extra={"job_id": str(item.job.id)})
            return f"failed with {type(error).__name__}, a bug of imagen's"
        record_sent(self.ledger, item)
        if item.sink == CLOUD_SINK:
            drop_artifacts_of(self.ledger, item.job.id)
        return None
