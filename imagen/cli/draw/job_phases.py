"""What the jobs of a command do while none of them makes a step, as their events told it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from imagen.domain.printable import printable

#: A job in progress tells something about every second; after this long it is not listened to.
_FORGOTTEN_AFTER_S = 10.0


@dataclass
class JobPhases:
    """The last phase of each job in progress. Threads share it.

    ``last`` is what was told last, of whichever job.
    """

    last: str = ""
    _phases: dict[UUID, tuple[str, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, job_id: UUID, event: Mapping[str, object]) -> str:
        """The phase that an event tells; "" while steps pass, and once the job has ended."""
        with self._lock:
            if event.get("event") != "progress":
                self._phases.pop(job_id, None)
                return ""
            phase = " ".join(printable(str(event.get("phase", ""))).split())
            self._phases[job_id] = (phase, time.monotonic())
            self.last = phase
            return phase

    def drop(self, job_id: UUID) -> None:
        """The job's attempt is over."""
        with self._lock:
            self._phases.pop(job_id, None)

    def common(self) -> str:
        """A phase to show for all of them, the first one's; "" while one of them makes steps."""
        now_s = time.monotonic()
        with self._lock:
            fresh = [
                phase
                for phase, heard_s in self._phases.values()
                if now_s - heard_s < _FORGOTTEN_AFTER_S
            ]
        return fresh[0] if fresh and all(fresh) else ""
