"""Ctrl-C and SIGTERM: the first one stops cleanly and says how to go on, the second one at once."""

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
#: What a terminal understands as "show the cursor again", which a progress bar had hidden.
_SHOW_CURSOR = "\033[?25h"


class Interrupted(BaseException):
    """The command was told to stop. Not an ``Exception``: only the edge may catch it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """As shells count: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signum


@dataclass
class Interrupt:
    """What happened to this process so far, and what a command wants to happen.

    ``how_to_go_on`` is told to whoever interrupts; ``on_stop`` ends a blocking run, and is called
    from a thread of its own. Without one the command is left where it stands.
    """

    how_to_go_on: str = ""
    #: What ``--json`` says besides the error: the job, once there is one.
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
        """Let a signal call ``stop`` and the block end by itself.

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
            # Leases and temporary files are found by whoever comes next.
            if sys.stderr.isatty():
                os.write(2, _SHOW_CURSOR.encode())
            os._exit(128 + signum)
        self.signum = signum
        if self.on_stop is None:
            raise Interrupted(signum)
        # Not here: the main thread may hold the very lock that stopping needs. And not with
        # threading.Thread, which takes a lock to start.
        _thread.start_new_thread(self.on_stop, ())
