"""The one GPU of the fake: what is loaded, what runs, and how it is interrupted."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass


class DeviceInterrupted(Exception):
    """A client sent an interrupt."""


class PoweredOff(Exception):
    """The server was killed."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds: of device time an image, of loading another model, and between the success event
    and the history entry.
    """

    draw_s: float = 0.0
    load_s: float = 0.0
    history_lag_s: float = 0.0


class Device:
    """Time passes here and can be cut short. One thread works, others interrupt."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_interrupted = False
        self._is_off = False
        self.takes_interrupts = True
        self.loaded: dict[str, str] = {}

    def begin(self) -> None:
        """Start a prompt; an interrupt that came while nothing ran does not hurt it."""
        with self._changed:
            self._is_interrupted = False
            self.takes_interrupts = True

    def interrupt(self) -> None:
        with self._changed:
            self._is_interrupted = True
            self._changed.notify_all()

    def power_off(self) -> None:
        with self._changed:
            self._is_off = True
            self._changed.notify_all()

    @property
    def is_off(self) -> bool:
        return self._is_off

    def work(self, seconds: float | None) -> None:
        """Let time pass, for ever when ``seconds`` is nothing.

        Raises:
            Interrupted, PoweredOff: it was cut short.
        """
        deadline_s = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            while True:
                if self._is_off:
                    raise PoweredOff
                if self._is_interrupted and self.takes_interrupts:
                    raise DeviceInterrupted
                left_s = None if deadline_s is None else deadline_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return
                self._changed.wait(left_s)
