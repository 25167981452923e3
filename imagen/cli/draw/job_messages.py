"""Tells, on stderr, what happens to the jobs of a command while they are drawn."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from imagen.cli.screen.durations import brief
from imagen.cli.screen.progress import StepDisplay
from imagen.cli.screen.screen import Screen
from imagen.cli.screen.streams import OutputFailed
from imagen.domain.job import JobState
from imagen.domain.printable import printable_line
from imagen.errors import ImagenError
from imagen.services.follow.phase_tracker import PhaseTracker

if TYPE_CHECKING:
    from imagen.services.draw.claim_outcome import ClaimOutcome

#: With many jobs waiting for the same thing, one line about it is enough for so long.
_SAY_AGAIN_S = 10.0
#: A batch may fail ten thousand times; for most of them what the ledger knows is enough.
_MOST_ERRORS = 100
_ENDED = (JobState.FAILED, JobState.CANCELED)


@dataclass
class JobMessages:
    """Listens to the jobs of a run; implements ``JobListener``. Threads share it.

    ``on_path`` is called with each delivered image's path. ``errors`` are those of jobs that ended
    without an image, with hints, which the ledger does not keep apart.
    """

    screen: Screen
    steps: StepDisplay | None = None
    on_path: Callable[[str], None] | None = None
    errors: dict[UUID, ImagenError] = field(default_factory=dict)
    phases: PhaseTracker = field(default_factory=PhaseTracker)
    #: Ends the run once a path could not be written: its reader is gone.
    stop: Callable[[], None] = lambda: None
    output_error: OutputFailed | None = None
    _told_s: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on_outcome(self, outcome: ClaimOutcome) -> None:
        self.phases.drop(outcome.job_id)
        if outcome.error is None:
            return
        if outcome.retry is not None:
            self._tell_retry(str(outcome.error), outcome.retry.wait_s)
        elif outcome.state in _ENDED and len(self.errors) < _MOST_ERRORS:
            self.errors[outcome.job_id] = outcome.error

    def on_event(self, job_id: UUID, event: Mapping[str, object]) -> None:
        phase = self.phases.note_event(job_id, event)
        match event:
            case {"event": "progress", "done": int(done), "total": int(total)}:
                if self.steps is not None:
                    self.steps.step(done, total, phase=phase)
            case {"event": "retry", "wait_s": int() | float() as wait_s, "why": str(why)}:
                self._tell_retry(why, wait_s)
            case {"event": "succeeded", "path": str(path)}:
                self._tell_path(path)

    def on_missing_worker(self, queue: str) -> None:
        role = queue if queue in ("gpu", "cloud") else "gpu|cloud"
        self.screen.say(
            f"no live worker serves the queue {queue!r}; start one where it can reach the backend:"
            f" imagen worker {role}"
        )

    def on_pause(self, backend: str, reason: str) -> None:
        self._tell_once(
            f"backend {backend!r} is paused: {printable_line(reason)}"
            f" (to go on at once: imagen backends resume {backend})"
        )

    def on_unreachable(self, backend: str, reason: str) -> None:
        self._tell_once(
            f"waiting for backend {backend!r}, which is checked until it answers:"
            f" {printable_line(reason)}"
        )

    def _tell_path(self, path: str) -> None:
        if self.on_path is None or self.output_error is not None:
            return
        try:
            self.on_path(path)
        except OutputFailed as error:
            # Kept for the command: raised here, it would end a thread in the middle of a delivery.
            self.output_error = error
            self.stop()

    def _tell_retry(self, reason: str, wait_s: float) -> None:
        self._tell_once(f"retrying in {brief(wait_s)}: {printable_line(reason)}", key=reason)

    def _tell_once(self, line: str, *, key: str = "") -> None:
        """Say the line, unless one with the same key was said within the last ten seconds."""
        key, now_s = key or line, time.monotonic()
        with self._lock:
            if now_s - self._told_s.get(key, float("-inf")) < _SAY_AGAIN_S:
                return
            self._told_s[key] = now_s
        self.screen.say(line)


def tell_warnings(screen: Screen, warnings: Counter[str]) -> None:
    """Each warning once, with the number of images where it is about several."""
    for text, number in warnings.most_common():
        screen.warn(f"{text} ({number:,} images)" if number > 1 else text)
