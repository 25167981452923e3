"""How long the steps of a prompt wait, and pauses during which a cancel is noticed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from imagen.domain.protocols import Run
from imagen.errors import BackendUnavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timings:
    """Waits that are no settings, in seconds; tests use shorter ones.

    Attributes:
        tick_s: longest time between two calls of ``run.progress``, which is how a cancel or a
            lost lease is noticed.
        poll_s: longest time without an event before the server is asked over HTTP.
        lag_s: how soon the history is asked again when an event came before the entry.
        reconnect_s: time between attempts to connect the websocket again.
        stop_s: how long to wait until a stopped prompt has really ended. It takes effect at the
            next step or node, which may be a slow one.
        retry_s: time before a failed post or download is repeated.
        free_s: time the server gets to unload its models; it does so between prompts.
    """

    tick_s: float = 1.0
    poll_s: float = 0.5
    lag_s: float = 0.01
    reconnect_s: float = 2.0
    stop_s: float = 10.0
    retry_s: float = 0.5
    free_s: float = 1.0


class CancelableWait:
    """Pauses of one ``generate`` call: they call ``run.progress`` and pass on what it raises."""

    def __init__(
        self, run: Run, *, total_steps: int, timings: Timings, restart_wait_s: float
    ) -> None:
        """``restart_wait_s`` is the longest that the server may be gone."""
        self._run = run
        self._total_steps = total_steps
        self._timings = timings
        self._restart_wait_s = restart_wait_s

    def tick(self, phase: str = "") -> None:
        """Report that no step has passed; ``phase`` says what goes on."""
        self._run.progress(0, self._total_steps, phase=phase)

    def pause(self, seconds: float, *, phase: str = "") -> None:
        """Sleep for ``seconds`` with a tick every ``tick_s``."""
        deadline_s = time.monotonic() + seconds
        while True:
            self.tick(phase)
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(left_s, self._timings.tick_s))

    def pause_before_retry(self) -> None:
        self.pause(self._timings.retry_s)

    def until_answered(self, ask: Callable[[], T]) -> T:
        """What ``ask`` returns, called again while the server cannot be reached.

        Raises:
            BackendUnavailable: it still cannot after ``restart_wait_s`` seconds.
        """
        deadline_s = time.monotonic() + self._restart_wait_s
        while True:
            try:
                return ask()
            except BackendUnavailable:
                if time.monotonic() >= deadline_s:
                    raise
            self.pause(self._timings.poll_s, phase="waiting for ComfyUI to answer")
