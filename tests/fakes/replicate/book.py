"""A ledger small enough to see through: who owns which prediction, and workers that die."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from imagen.domain.job import Attempt, AttemptState
from imagen.domain.protocols import AlreadyOwned
from imagen.errors import LeaseLost
from imagen.testing.runs import RecordingRun


class Killed(BaseException):
    """The process died here; nothing in the code under test may catch it."""


@dataclass
class Book:
    """The one thing a ledger does for the adapter: each id at a place has one owner."""

    owners: dict[tuple[str, str], UUID] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def owned(self, place: str, external_ids: tuple[str, ...]) -> frozenset[str]:
        with self._lock:
            return frozenset(one for one in external_ids if (place, one) in self.owners)

    def claim(self, place: str, external_id: str, attempt_id: UUID) -> None:
        with self._lock:
            if self.owners.setdefault((place, external_id), attempt_id) != attempt_id:
                raise AlreadyOwned

    def ids_of(self, attempt_id: UUID) -> list[str]:
        with self._lock:
            return [one for (_, one), owner in self.owners.items() if owner == attempt_id]


@dataclass
class BookRun(RecordingRun):
    """A run whose ids go into a book; ``before_submitted`` may die there."""

    book: Book = field(default_factory=Book)
    before_submitted: Callable[[], None] = lambda: None
    intended_s: float | None = None

    def intend(self, *, timeout_s: float) -> None:
        if self.book.ids_of(self.attempt_id):
            raise LeaseLost(f"attempt {self.attempt_id} was taken further by another worker")
        super().intend(timeout_s=timeout_s)
        self.intended_s = time.monotonic()

    def submitted(self, external_id: str, *, place: str = "") -> None:
        self.before_submitted()
        self.book.claim(place, external_id, self.attempt_id)
        super().submitted(external_id, place=place)

    def resumed(self, **changes: Any) -> BookRun:
        """The run of the worker that takes over after this one died."""
        ids = self.book.ids_of(self.attempt_id)
        age_s = None if self.intended_s is None else time.monotonic() - self.intended_s
        state = AttemptState.STARTED if age_s is None else AttemptState.INTENDED
        facts: dict[str, Any] = {
            "id": self.attempt_id,
            "job_id": UUID(int=1),
            "number": 1,
            "backend": "under test",
            "state": AttemptState.SUBMITTED if ids else state,
            "external_id": ids[0] if ids else None,
            "intent_age_s": age_s,
        }
        previous = Attempt(**{**facts, **changes})
        again = BookRun(attempt_id=self.attempt_id, previous=previous, book=self.book)
        again.intended_s = self.intended_s
        return again
