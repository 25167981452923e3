"""The threads of one run: started together, ended together, by a stop or by the first error."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from imagen.domain.protocols import Clock
from imagen.errors import ImagenError, LedgerError, LedgerUnavailable
from imagen.local.local_publisher import LocalPublisher
from imagen.services.leases.ledger_outage import LedgerPatience

log = logging.getLogger(__name__)

#: Given to each thread at the end, to notice it.
_NOTICE_S = 0.05


@dataclass
class RunThreads:
    """Threads that work until ``stopping`` is set."""

    publisher: LocalPublisher
    clock: Clock
    patience: LedgerPatience
    stopping: threading.Event
    #: What ended the run, where an error did.
    error: ImagenError | None = None
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, work: Sequence[Callable[[], None]]) -> None:
        # Daemons: what still blocks in a backend at the end must not keep the process alive.
        self._threads = [threading.Thread(target=each, daemon=True) for each in work]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Tell all threads to end."""
        self.stopping.set()
        self.publisher.wake_all()

    def join(self, *, grace_s: float) -> None:
        """Wait ``grace_s`` seconds for what the threads are doing, after ``stop``."""
        deadline_s = self.clock.boottime_s() + grace_s
        for thread in self._threads:
            thread.join(max(_NOTICE_S, deadline_s - self.clock.boottime_s()))

    def guarded(self, work: Callable[[], bool]) -> bool:
        """What ``work`` returns, or False after an error; one that ends the run is kept.

        A ledger that is away for a while ends nothing.
        """
        try:
            return work()
        except LedgerUnavailable as error:
            try:
                self.patience.note_absence(error)
            except LedgerUnavailable:
                self.end_with(error)
        except LedgerError as error:
            self.end_with(error)
        except Exception as error:
            log.exception("thread_failed")
            self.end_with(ImagenError(f"imagen failed with {type(error).__name__}: {error}"))
        return False

    def end_with(self, error: ImagenError) -> None:
        """End the run because of ``error``; of several the first counts."""
        self.error = self.error or error
        self.stop()
