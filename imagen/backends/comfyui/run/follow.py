"""Following one prompt to its end: events for speed, HTTP as the truth, and both clocks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from imagen.backends.comfyui.run.phases import Phases
from imagen.backends.comfyui.run.stuck import StuckSign
from imagen.backends.comfyui.run.timings import Timings
from imagen.backends.comfyui.server.client import ComfyClient, PromptStatus
from imagen.backends.comfyui.server.websocket import EventSocket, PromptEvent
from imagen.domain.protocols import Run
from imagen.errors import BackendUnavailable, OutcomeUnknown

Entry = Mapping[str, Any]


class Overdue(Exception):
    """The prompt has executed for longer than it may."""


class Stalled(Exception):
    """Nothing moves; ``culprit_id`` is the prompt itself or one of ours that it waits behind."""

    def __init__(self, culprit_id: str) -> None:
        super().__init__(culprit_id)
        self.culprit_id = culprit_id


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: of execution, of silence, and of the server's absence."""

    timeout_s: float
    stall_s: float
    absence_s: float


class PromptFollower:
    """One prompt of one thread, from its submission until it has ended."""

    def __init__(
        self,
        client: ComfyClient,
        prompt_id: str,
        *,
        events: EventSocket,
        posted_as: str,
        run: Run,
        limits: Limits,
        timings: Timings,
        sign: StuckSign,
        phases: Phases,
        total_steps: int,
    ) -> None:
        """``posted_as`` is the client id it was posted with, "" when somebody else posted it."""
        self._client = client
        self._prompt_id = prompt_id
        self._events = events
        self._posted_as = posted_as
        self._run = run
        self._limits = limits
        self._timings = timings
        self._sign = sign
        self._phases = phases
        self._done, self._total = 0, max(1, total_steps)
        now_s = time.monotonic()
        self._looked_at_s = now_s
        self._look_at_s = now_s + (timings.poll_s if posted_as else 0.0)
        self._changed_at_s = now_s
        self._running_since_s: float | None = None
        self._absent_since_s: float | None = None
        self._is_ending = False
        self._lag_s = timings.lag_s
        self._seen: PromptStatus | None = None

    def until_ended(self) -> Entry | None:
        """The history entry; nothing when the server does not know the prompt any more.

        Blocks. Calls ``run.progress`` about every second.

        Raises:
            Overdue, Stalled: it is for the caller to stop it.
            OutcomeUnknown: the server was gone for too long.
            JobCanceled, LeaseLost: passed through from ``run``.
        """
        while True:
            self._listen()
            self._run.progress(self._done, self._total, phase=self._phases.text)
            if time.monotonic() >= self._look_at_s:
                sighting = self._look()
                if sighting and sighting.where == "ended":
                    return sighting.entry
                if sighting and sighting.where == "nowhere":
                    return None
            self._enforce_limits()

    @property
    def _is_attached(self) -> bool:
        return self._events.is_attached(self._posted_as)

    def _listen(self) -> None:
        now_s = time.monotonic()
        event = self._events.wait(min(self._timings.tick_s, max(0.0, self._look_at_s - now_s)))
        if event is None:
            return
        if event.prompt_id == self._prompt_id:
            self._take(event)
        elif event.kind == "queue" and not self._is_attached:
            # It may be our prompt that ended, but busy servers say this many times a second.
            soon_s = self._looked_at_s + 5 * self._timings.lag_s
            self._look_at_s = min(self._look_at_s, max(soon_s, time.monotonic()))

    def _take(self, event: PromptEvent) -> None:
        now_s = time.monotonic()
        self._mark_running(now_s)
        self._changed_at_s = now_s
        self._look_at_s = now_s + self._timings.poll_s
        self._phases.hear(event)
        if event.kind == "progress":
            self._done, self._total = event.done, max(1, event.total)
        elif event.kind == "ending":
            self._is_ending = True
            self._look_at_s = now_s + self._timings.lag_s
        elif event.kind == "ended":
            self._is_ending = True
            self._look_at_s = now_s

    def _mark_running(self, now_s: float) -> None:
        if self._running_since_s is None:
            self._running_since_s = now_s

    def _look(self) -> PromptStatus | None:
        try:
            sighting = self._client.look_up(self._prompt_id)
        except BackendUnavailable as exc:
            self._note_absence(exc)
            return None
        now_s = time.monotonic()
        if self._absent_since_s is not None:
            self._absent_since_s = None
            self._changed_at_s = now_s
        if sighting != self._seen:
            self._seen = sighting
            self._changed_at_s = now_s
        if sighting.where == "running":
            self._mark_running(now_s)
            self._phases.running(is_heard=self._is_attached)
        elif sighting.where == "pending":
            self._phases.queued(sighting.ahead)
        self._looked_at_s = now_s
        self._look_at_s = now_s + self._next_wait_s()
        return sighting

    def _next_wait_s(self) -> float:
        if not self._is_ending:
            return self._timings.poll_s
        # The entry is a matter of milliseconds; ask less and less eagerly.
        self._lag_s = min(2 * self._lag_s, self._timings.poll_s)
        return self._lag_s

    def _note_absence(self, exc: BackendUnavailable) -> None:
        now_s = time.monotonic()
        if self._absent_since_s is None:
            self._absent_since_s = now_s
            self._phases.absent(datetime.now(UTC))
        if now_s - self._absent_since_s >= self._limits.absence_s:
            raise OutcomeUnknown(
                f"{exc.message}, {self._limits.absence_s:g} s long in the middle of a prompt",
                exc.hint,
            ) from exc
        self._looked_at_s = now_s
        self._look_at_s = now_s + self._timings.poll_s

    def _enforce_limits(self) -> None:
        if self._absent_since_s is not None:
            return
        now_s = time.monotonic()
        if self._running_since_s is not None:
            if now_s - self._running_since_s >= self._limits.timeout_s:
                raise Overdue
            # Without its events a prompt that is well shows no change either.
            if self._is_attached and now_s - self._changed_at_s >= self._limits.stall_s:
                raise Stalled(self._prompt_id)
            return
        ahead = self._seen.ahead if self._seen else ()
        if any(one.prompt_id == self._sign.prompt_id for one in ahead):
            raise Stalled(self._sign.prompt_id)
        # Another client's prompt sends us no events, so its silence says nothing: it may take
        # hours. Only where nothing is ahead does the server owe us a start.
        if not ahead and now_s - self._changed_at_s >= self._patience_in_queue_s:
            raise Stalled(self._prompt_id)

    @property
    def _patience_in_queue_s(self) -> float:
        return self._limits.timeout_s + self._limits.stall_s
