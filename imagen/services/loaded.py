"""Which model this process had loaded last, so that the next claim may prefer it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class LoadedModel:
    """The affinity of the last job that had one. Threads of one process share it."""

    name: str | None = None

    def use(self, affinity: str | None) -> None:
        """Remember what a claimed job will have loaded; one without affinity changes nothing."""
        if affinity is not None:
            self.name = affinity
