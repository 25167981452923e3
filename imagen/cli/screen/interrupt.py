"""Ctrl-C and SIGTERM: the first one stops cleanly and tells how to go on, the second at once."""

from __future__ import annotations

import _thread
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: The escape sequence that shows the cursor, which a progress bar hides.
_SHOW_CURSOR = "\033[?25h"


class Interrupted(BaseException):
    """The command was told to stop. Not an ``Exception``, so that only ``main`` catches it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """As shells count: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signum


@dataclass
class Interrupt:
    """The signals of this process, and what a command does about them.

    ``how_to_go_on`` is the hint of an interrupted command, ``facts`` what ``--json`` says besides
    the error. ``on_stop`` ends a blocking run, and is called from a thread of its own; without it
    the signal raises ``Interrupted`` at once.
    """

    how_to_go_on: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    on_stop: Callable[[], None] | None = None
    signum: int = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Handle the signals while the block runs; main thread only."""
        before = {signum: signal.signal(signum, self._handle) for signum in _SIGNALS}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """While the block runs, a signal calls ``stop`` and the block ends by itself.

        Raises:
            Interrupted: at the end of the block, when there was a signal.
        """
        if self.signum:
            raise Interrupted(self.signum)
        self.on_stop = stop
        try:
            yield
        finally:
            self.on_stop = None
        if self.signum:
            raise Interrupted(self.signum)

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        if self.signum:
            # Other processes find the leases and temporary files that this one leaves.
            if sys.stderr.isatty():
                os.write(2, _SHOW_CURSOR.encode())
            os._exit(128 + signum)
        self.signum = signum
        if self.on_stop is None:
            raise Interrupted(signum)
        # Not in this handler: the main thread may hold a lock that stopping needs. And not in a
        # threading.Thread, which takes a lock to start.
        _thread.start_new_thread(self.on_stop, ())
