"""Pauses that never keep a cancel or a lost lease unnoticed for more than about a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from imagen.backends.comfyui.run.timings import Timings
from imagen.domain.protocols import Run
from imagen.errors import BackendUnavailable

T = TypeVar("T")


class CancelableWait:
    """Pauses of one drawing, each of which calls ``run.progress`` and passes on what it raises."""

    def __init__(self, run: Run, *, total_steps: int, timings: Timings) -> None:
        self._run = run
        self._total_steps = total_steps
        self._timings = timings

    def tick(self, phase: str = "") -> None:
        self._run.progress(0, self._total_steps, phase=phase)

    def pause(self, seconds: float, *, phase: str = "") -> None:
        """Sleep that long, ticking; ``phase`` says what for."""
        deadline_s = time.monotonic() + seconds
        while True:
            self.tick(phase)
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(left_s, self._timings.tick_s))

    def until_answered(self, ask: Callable[[], T], *, patience_s: float) -> T:
        """What ``ask`` returns, asked again while the server cannot be reached.

        Raises:
            BackendUnavailable: it still cannot after ``patience_s`` seconds.
        """
        deadline_s = time.monotonic() + patience_s
        while True:
            try:
                return ask()
            except BackendUnavailable:
                if time.monotonic() >= deadline_s:
                    raise
            self.pause(self._timings.poll_s, phase="waiting for ComfyUI to answer")
