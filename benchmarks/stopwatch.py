"""Times the steps of a job from outside, by standing in front of the functions that do them."""

from __future__ import annotations

import functools
import importlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

#: A step, and the functions that it consists of, each as its caller finds it. No step holds
#: another. Threads wait for each other inside them, so the sum may be more than the whole.
_STEPS: dict[str, tuple[str, ...]] = {
    "claim": ("imagen.services.draw.draw:claim_job",),
    "draw": ("imagen.backends.mock.backend:MockBackend.generate",),
    "generated": ("imagen.services.draw.draw:record_generated",),
    "claim of deliveries": ("imagen.ledger.jobs.delivery:claim_deliveries",),
    "read the bytes": ("imagen.services.deliver.image_groups:load_artifacts",),
    "verify, embed, hash": ("imagen.services.deliver.deliver:finish_image",),
    "choose names": ("imagen.services.deliver.file_writer:pick_target",),
    "commit the names": ("imagen.ledger.jobs.delivery:record_targets",),
    "write files": ("imagen.services.deliver.file_writer:write_temp",),
    "sync files": (
        "imagen.services.deliver.file_writer:sync_files",
        "imagen.services.deliver.file_writer:sync_folder",
    ),
    "link files": ("imagen.services.deliver.file_writer:move_into_place",),
    "succeeded": ("imagen.ledger.jobs.delivery:record_succeeded",),
    "drop the bytes": ("imagen.services.deliver.deliver:drop_files",),
    "look after": (
        "imagen.services.leases.reconcile:Reconciler.tick",
        "imagen.services.draw.run_loop:has_unfinished",
    ),
}


@dataclass
class Lap:
    """What all calls of a step took together."""

    calls: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0


@dataclass
class Stopwatch:
    """Laps by step; threads share it. ``missing`` are functions that were not found."""

    laps: dict[str, Lap] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def timed(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, which adds to the lap of ``step``."""

        @functools.wraps(function)
        def stand_in(*arguments: Any, **options: Any) -> Any:
            wall_s, cpu_s = time.perf_counter(), time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                wall_s, cpu_s = time.perf_counter() - wall_s, time.thread_time() - cpu_s
                with self._lock:
                    lap = self.laps.setdefault(step, Lap())
                    lap.calls += 1
                    lap.wall_s += wall_s
                    lap.cpu_s += cpu_s

        return stand_in


@contextmanager
def watching(stopwatch: Stopwatch) -> Iterator[None]:
    """Time every step while the block runs."""
    with ExitStack() as stack:
        for step, places in _STEPS.items():
            for place in places:
                try:
                    owner, name, function = _find(place)
                except (ImportError, AttributeError):
                    stopwatch.missing.append(place)
                    continue
                stopwatch.laps.setdefault(step, Lap())
                stack.enter_context(patch.object(owner, name, stopwatch.timed(step, function)))
        yield


def _find(place: str) -> tuple[Any, str, Callable[..., Any]]:
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    return owner, name, getattr(owner, name)
