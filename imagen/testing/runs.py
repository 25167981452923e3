"""Runs without a ledger, for trying a backend by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from imagen.domain.cost import Bill
from imagen.domain.job import Attempt, AttemptState


@dataclass
class RecordingRun:
    """A ``Run`` that says yes to everything and remembers what it was told, in order.

    Attributes:
        events: ``("intend", timeout_s)``, ``("submitted", external_id, place)``,
            ``("billed", bill)`` and ``("progress", done, total)``, as they came.
        phases: the phases that ``progress`` was told, each once it changed.
        on_progress: called with (done, total) after it was noted; what it raises goes to the
            backend, as a cancel or a lost lease would.
    """

    attempt_id: UUID = field(default_factory=uuid4)
    previous: Attempt | None = None
    on_progress: Callable[[int, int], None] | None = None
    lease_s: float = 3600.0
    events: list[tuple[Any, ...]] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    started: threading.Event = field(default_factory=threading.Event)

    def intend(self, *, timeout_s: float) -> None:
        self.events.append(("intend", timeout_s))

    def submitted(self, external_id: str, *, place: str = "") -> None:
        self.events.append(("submitted", external_id, place))

    def adopted(self, external_id: str, *, place: str = "") -> None:
        self.submitted(external_id, place=place)

    def billed(self, bill: Bill) -> None:
        self.events.append(("billed", bill))

    def progress(self, done: int, total: int, *, phase: str = "") -> None:
        if not self.phases or self.phases[-1] != phase:
            self.phases.append(phase)
        self.events.append(("progress", done, total))
        self.started.set()
        if self.on_progress is not None:
            self.on_progress(done, total)

    def lease_left_s(self) -> float:
        return self.lease_s

    def of_kind(self, kind: str) -> list[tuple[Any, ...]]:
        """The events of one kind, in order."""
        return [event for event in self.events if event[0] == kind]

    @property
    def external_ids(self) -> list[str]:
        return [event[1] for event in self.of_kind("submitted")]

    @property
    def place(self) -> str:
        """Where the last submission went, or "" before any."""
        submissions = self.of_kind("submitted")
        return str(submissions[-1][2]) if submissions else ""


def resume(run: RecordingRun) -> RecordingRun:
    """The run a second worker gets after the first one died once its work was submitted."""
    previous = Attempt(
        id=run.attempt_id,
        job_id=UUID(int=1),
        number=1,
        backend="under test",
        state=AttemptState.SUBMITTED,
        external_id=run.external_ids[-1],
        place=run.place,
        intent_age_s=1.0,
    )
    return RecordingRun(attempt_id=run.attempt_id, previous=previous)
