"""Which model this process had loaded last, so that the next claim may prefer it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class LoadedModel:
    """The affinity of the last job that had one. Threads of one process share it.

    ``turn`` is held from the look at ``name`` until the claim that came of it is known.
    """

    name: str | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)

    def use(self, affinity: str | None) -> None:
        """Remember what a claimed job will have loaded; one without affinity changes nothing."""
        if affinity is not None:
            self.name = affinity
