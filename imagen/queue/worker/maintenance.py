"""The thread of a worker that serves the jobs of all: it reconciles, then tops the queues up."""

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
    """Does a round every ``every_s`` seconds; of all processes, only one at a time has the turn."""

    reconciler: Reconciler
    filler: QueueFiller
    every_s: float
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _logged: str = ""

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="imagen-maintenance", daemon=True)
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
        """Do one round now; an error that lasts is logged once, not every second."""
        try:
            if self.reconciler.tick():
                self.filler.top_up()
            self._logged = ""
        except ImagenError as error:
            if str(error) != self._logged:
                log.warning("reconcile_failed", extra={"why": str(error)})
            self._logged = str(error)

    def _run(self) -> None:
        while not self._stop.wait(self.every_s):
            try:
                self.tick()
            except Exception:
                # Without this thread lost messages stay lost, so no error may end it.
                log.exception("reconcile_failed")
