"""Following one prompt to its end: events for speed, HTTP for certainty, and the time limits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from imagen.backends.comfyui.run.phases import Phases
from imagen.backends.comfyui.run.timings import Timings
from imagen.backends.comfyui.server.client import ComfyClient, PromptStatus
from imagen.backends.comfyui.server.websocket import EventSocket, PromptEvent
from imagen.backends.comfyui.settings import ComfyUISettings
from imagen.domain.protocols import Run
from imagen.errors import BackendUnavailable, JobTimeout, OutcomeUnknown

Entry = Mapping[str, Any]


class LimitExceeded(Exception):
    """The prompt has to be stopped.

    ``culprit_id`` is the prompt that does not move: this one, or one of ours ahead of it.
    ``error`` is what to raise once it is stopped.
    """

    def __init__(self, culprit_id: str, error: JobTimeout | BackendUnavailable) -> None:
        super().__init__(culprit_id)
        self.culprit_id = culprit_id
        self.error = error


@dataclass(kw_only=True)
class PromptFollower:
    """One prompt, from its submission until it has ended; for one thread.

    ``posted_as`` is the client id it was posted with, "" when another worker posted it.
    """

    client: ComfyClient
    prompt_id: str
    posted_as: str
    events: EventSocket
    run: Run
    settings: ComfyUISettings
    timings: Timings
    phases: Phases
    total_steps: int

    def __post_init__(self) -> None:
        self._done = 0
        now_s = time.monotonic()
        self._asked_at_s = now_s
        self._ask_at_s = now_s + (self.timings.poll_s if self.posted_as else 0.0)
        self._changed_at_s = now_s
        self._running_since_s: float | None = None
        self._absent_since_s: float | None = None
        self._is_ending = False
        self._lag_s = self.timings.lag_s
        self._status: PromptStatus | None = None

    def until_ended(self) -> Entry | None:
        """The history entry; None when the server does not know the prompt any more.

        Blocks. Calls ``run.progress`` about every second.

        Raises:
            LimitExceeded: the caller has to stop it.
            OutcomeUnknown: the server was gone for ``restart_wait_s``.
            JobCanceled, LeaseLost: passed through from ``run``.
        """
        while True:
            self._listen()
            self.run.progress(self._done, self.total_steps, phase=self.phases.text)
            if time.monotonic() >= self._ask_at_s:
                status = self._ask()
                if status and status.where in ("ended", "nowhere"):
                    return status.entry
            self._enforce_limits()

    @property
    def _is_attached(self) -> bool:
        return self.events.is_attached(self.posted_as)

    def _listen(self) -> None:
        now_s = time.monotonic()
        event = self.events.wait(min(self.timings.tick_s, max(0.0, self._ask_at_s - now_s)))
        if event is None:
            return
        if event.prompt_id == self.prompt_id:
            self._take(event)
        elif event.kind == "queue" and not self._is_attached:
            # It may be our prompt that ended, but busy servers say this many times a second.
            soon_s = self._asked_at_s + 5 * self.timings.lag_s
            self._ask_at_s = min(self._ask_at_s, max(soon_s, time.monotonic()))

    def _take(self, event: PromptEvent) -> None:
        now_s = time.monotonic()
        self._mark_running(now_s)
        self._changed_at_s = now_s
        self._ask_at_s = now_s + self.timings.poll_s
        self.phases.hear(event)
        if event.kind == "progress":
            self._done, self.total_steps = event.done, max(1, event.total)
        elif event.kind in ("ending", "ended"):
            self._is_ending = True
            self._ask_at_s = now_s + (self.timings.lag_s if event.kind == "ending" else 0.0)

    def _mark_running(self, now_s: float) -> None:
        if self._running_since_s is None:
            self._running_since_s = now_s

    def _ask(self) -> PromptStatus | None:
        """Where the prompt is by HTTP; None while the server cannot be reached."""
        try:
            status = self.client.look_up(self.prompt_id)
        except BackendUnavailable as exc:
            self._note_absence(exc)
            return None
        now_s = time.monotonic()
        if status != self._status or self._absent_since_s is not None:
            self._changed_at_s = now_s
        self._status, self._absent_since_s = status, None
        if status.where == "running":
            self._mark_running(now_s)
            self.phases.running(is_heard=self._is_attached)
        elif status.where == "pending":
            self.phases.queued(status.ahead)
        self._asked_at_s = now_s
        self._ask_at_s = now_s + self._next_wait_s()
        return status

    def _next_wait_s(self) -> float:
        if not self._is_ending:
            return self.timings.poll_s
        # The entry appears within milliseconds; each wait is twice the one before.
        self._lag_s = min(2 * self._lag_s, self.timings.poll_s)
        return self._lag_s

    def _note_absence(self, exc: BackendUnavailable) -> None:
        now_s = time.monotonic()
        if self._absent_since_s is None:
            self._absent_since_s = now_s
            self.phases.absent(datetime.now(UTC))
        absence_s = self.settings.restart_wait_s
        if now_s - self._absent_since_s >= absence_s:
            raise OutcomeUnknown(
                f"{exc.message}, {absence_s:g} s long in the middle of a prompt", exc.hint
            ) from exc
        self._asked_at_s = now_s
        self._ask_at_s = now_s + self.timings.poll_s

    def _enforce_limits(self) -> None:
        if self._absent_since_s is not None:
            return
        now_s = time.monotonic()
        silent_s = now_s - self._changed_at_s
        if self._running_since_s is not None:
            if now_s - self._running_since_s >= self.settings.timeout_s:
                raise LimitExceeded(self.prompt_id, self._timeout())
            # Without its events a prompt that runs well shows no change either.
            if self._is_attached and silent_s >= self.settings.stall_s:
                raise self._stall(self.prompt_id)
            return
        ahead = self._status.ahead if self._status else ()
        stuck_id = self.client.stuck_prompt_id
        if any(prompt.prompt_id == stuck_id for prompt in ahead):
            raise self._stall(stuck_id)
        # Another client's prompt sends us no events, so its silence says nothing: it may take
        # hours. The server is late with a start only where nothing is ahead.
        if not ahead and silent_s >= self.settings.timeout_s + self.settings.stall_s:
            raise self._stall(self.prompt_id)

    def _timeout(self) -> JobTimeout:
        return JobTimeout(
            f"{self.client.who} did not finish within timeout_s {self.settings.timeout_s:g}",
            "ask for a smaller image or fewer steps, or raise timeout_s",
        )

    def _stall(self, culprit_id: str) -> LimitExceeded:
        error = BackendUnavailable(
            f"{self.client.who} showed no progress for stall_s {self.settings.stall_s:g}; "
            "the prompt was interrupted",
            "raise stall_s if loading the model takes longer than that",
        )
        return LimitExceeded(culprit_id, error)
