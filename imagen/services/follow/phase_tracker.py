"""What jobs do while none of them makes a step, as their events told it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from imagen.domain.printable import printable

#: A job in progress sends an event about every second; the phase of a silent one is too old.
_VALID_FOR_S = 10.0


@dataclass
class PhaseTracker:
    """The last phase of each job in progress. Threads share it.

    ``last`` is the phase of the newest event of any job.
    """

    last: str = ""
    _phases: dict[UUID, tuple[str, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note_event(self, job_id: UUID, event: Mapping[str, object]) -> str:
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
        """Forget a job whose attempt has ended."""
        with self._lock:
            self._phases.pop(job_id, None)

    def common_phase(self) -> str:
        """The phase of the first job; "" while any of the jobs makes steps."""
        now_s = time.monotonic()
        with self._lock:
            valid = [
                phase for phase, heard_s in self._phases.values() if now_s - heard_s < _VALID_FOR_S
            ]
        return valid[0] if valid and all(valid) else ""
