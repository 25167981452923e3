"""What is told, while jobs are drawn, to the command that waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from uuid import UUID

from imagen.services.draw.claim_outcome import ClaimOutcome


class JobListener(Protocol):
    """Hears what happens to jobs; called from several threads."""

    def on_outcome(self, outcome: ClaimOutcome) -> None:
        """A claim of this process ended."""

    def on_event(self, job_id: UUID, event: Mapping[str, object]) -> None:
        """A job got further; ``event["event"]`` says how."""

    def on_pause(self, backend: str, reason: str) -> None:
        """Jobs wait for a backend that is paused."""

    def on_unreachable(self, backend: str, reason: str) -> None:
        """Jobs wait for a backend that cannot be reached."""

    def on_missing_worker(self, queue: str) -> None:
        """Jobs wait in a queue that no live worker serves."""
