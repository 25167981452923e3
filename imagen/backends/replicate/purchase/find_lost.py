"""Gives an attempt whose create call had no answer a prediction from Replicate's list.

Why this is right is argued in ``imagen.backends.replicate.purchase.create_once``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from imagen.backends.replicate.api.client import Client
from imagen.backends.replicate.api.predictions import Prediction
from imagen.backends.replicate.api.rate_gate import Tick, pause
from imagen.backends.replicate.purchase.list_search import (
    LOOK_FIRST_HINT,
    CreateCall,
    PredictionSearch,
    SearchResult,
)
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.protocols import AlreadyOwned, AttemptIndex, Run
from imagen.errors import JobCanceled, OutcomeUnknown
from imagen.http.deadline import boottime_s

# Replicate's ``Date`` is in whole seconds, and an intent's age has grown since it was read.
_CLOCK_MARGIN_S = 60.0
# Inputs are erased one hour after the creation. Source: replicate.com/docs/topics/predictions/
# data-retention (read 2026-11). In the last two minutes of it the list is not relied on.
_ERASED_AFTER_S = 3600.0
_ERASED_MARGIN_S = 120.0


def _new_locks() -> tuple[threading.Lock, ...]:
    return tuple(threading.Lock() for _ in range(64))


@dataclass(frozen=True)
class LostPredictionFinder:
    """Searches the list for open attempts of one backend. Threads share it."""

    client: Client
    search: PredictionSearch
    settings: ReplicateSettings
    name: str
    attempts: AttemptIndex
    # Equal calls are searched for one at a time. Others that share a lock by chance only wait.
    _locks: tuple[threading.Lock, ...] = field(default_factory=_new_locks)

    def find(
        self, call: CreateCall, run: Run, tick: Tick, *, intended_s: float, final_s: float
    ) -> Prediction | None:
        """The prediction that the attempt owns from now on; None where it may send a call.

        Waits until ``final_s``, when the list is final for this attempt. A cancel does not shorten
        that wait: a prediction taken earlier might be another attempt's, which would then send a
        call too many. Both times are ``boottime_s``'s.

        Raises:
            OutcomeUnknown: the list cannot tell.
            JobCanceled: raised by ``tick`` before, and no prediction was found. (One that was
                found is returned, and the follower's next tick then cancels it.)
            LeaseLost: from ``tick`` or ``run``.
        """
        canceled: JobCanceled | None = None

        def uncanceled_tick() -> None:
            nonlocal canceled
            try:
                tick()
            except JobCanceled as exc:
                canceled = exc

        try:
            pause(final_s - boottime_s(), uncanceled_tick)
            with self._only_search(call, uncanceled_tick):
                found = self._take(call, run, uncanceled_tick, intended_s=intended_s)
        except OutcomeUnknown:
            if canceled is None:
                raise
            found = None
        if canceled is not None and found is None:
            raise canceled
        return found

    @contextmanager
    def _only_search(self, call: CreateCall, tick: Tick) -> Iterator[None]:
        lock = self._locks[int(call.key[:8], 16) % len(self._locks)]
        while not lock.acquire(timeout=1.0):
            tick()
        try:
            yield
        finally:
            lock.release()

    def _take(
        self, call: CreateCall, run: Run, tick: Tick, *, intended_s: float
    ) -> Prediction | None:
        """Take the oldest match without an owner; None where two walks show that there is none."""
        self.search.sync_clock(tick)
        intended_at = self.client.server_now() - timedelta(seconds=boottime_s() - intended_s)
        settle_s = self.settings.settle_s
        since = intended_at - timedelta(seconds=_CLOCK_MARGIN_S + settle_s)
        # A short walk first: what this very call created is close to its intent, and the oldest
        # match of a walk that begins at ``since`` is the oldest of all.
        until = intended_at + timedelta(
            seconds=self.settings.post_timeout_s + settle_s + _CLOCK_MARGIN_S
        )
        result = self.search.find(call, since=since, until=until, tick=tick)
        found = self._take_oldest(result, run)
        seen: set[str] = set()
        while found is None:
            self._require_recent(intended_s)
            result = self.search.find(call, since=since, until=None, tick=tick)
            found = self._take_oldest(result, run)
            shown = {match.id for match in result.matches}
            if found is None and shown <= seen:
                self._require_recent(intended_s)
                self._require_nothing_erased(result, since)
                return None
            seen |= shown
        return found

    def _take_oldest(self, result: SearchResult, run: Run) -> Prediction | None:
        server = self.client.server
        owned = self.attempts.owned(server, tuple(match.id for match in result.matches))
        for match in result.matches:
            if match.id in owned:
                continue
            try:
                run.adopted(match.id, place=server)
            except AlreadyOwned:
                continue
            return match
        return None

    def _require_recent(self, intended_s: float) -> None:
        """Raises OutcomeUnknown where the list may have lost the inputs of this call."""
        if boottime_s() - intended_s > _ERASED_AFTER_S - _ERASED_MARGIN_S:
            raise OutcomeUnknown(
                f"an answer of Replicate to backend {self.name!r} was lost too long ago:"
                " it erases inputs after an hour",
                LOOK_FIRST_HINT,
            )

    def _require_nothing_erased(self, result: SearchResult, since: datetime) -> None:
        """Raises OutcomeUnknown where a prediction without inputs and owner may be this call's."""
        erased = result.erased
        if not erased or set(erased) <= self.attempts.owned(self.client.server, erased):
            return
        raise OutcomeUnknown(
            f"Replicate lists a prediction of {self.settings.model} made after"
            f" {since:%Y-%m-%d %H:%M} UTC whose input is erased, so it may be the lost one:"
            f" {erased[0]}",
            LOOK_FIRST_HINT,
        )
