"""The thread of a worker that looks after everybody's jobs: reconcile, then top up the queues."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field

from imagen.errors import ImagenError
from imagen.queue.publish.queue_filler import QueueFiller
from imagen.services.leases.reconcile import Reconciler

log = logging.getLogger(__name__)


@dataclass
class Maintenance:
    """Ticks every ``every_s`` seconds; of all processes, one at a time really does it."""

    reconciler: Reconciler
    feeder: QueueFiller
    every_s: float
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _complaint: str = ""

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="imagen-caretaker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and let another process have the turn."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        try:
            self.reconciler.leave()
        except ImagenError as error:
            log.debug("turn_not_given_up", extra={"why": str(error)})

    def tick(self) -> None:
        """One round, now; what goes wrong is logged once, not every second."""
        try:
            if self.reconciler.tick():
                self.feeder.top_up()
            self._complaint = ""
        except ImagenError as error:
            if str(error) != self._complaint:
                log.warning("reconcile_failed", extra={"why": str(error)})
            self._complaint = str(error)

    def _run(self) -> None:
        while not self._stop.wait(self.every_s):
            try:
                self.tick()
            except Exception:
                # Without this thread lost messages stay lost, so nothing may end it.
                log.exception("reconcile_failed")
