"""What may be made to go wrong in the fake, one name each."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "answer": "any request whose path starts with path= gets status= and body=",
        "post_500": "POST /prompt answers 500 and queues nothing",
        "post_500_queued": "POST /prompt answers 500 and has queued it all the same",
        "post_dropped": "the connection ends before POST /prompt queues anything",
        "post_lost": "the connection ends after POST /prompt has queued it",
        "view_truncated": "GET /view sends half of what it announces",
        "view_damaged": "GET /view sends a whole file with wrong bytes in it",
        "view_missing": "GET /view answers 404",
        "view_wrong_size": "GET /view sends another image, 8x8",
        "oom": "the prompt ends with torch.OutOfMemoryError",
        "disk_full": "the prompt ends with OSError 28",
        "error": "the prompt ends with RuntimeError; message=",
        "hang": "the worker thread dies; the prompt stays in queue_running for ever",
        "freeze": "the prompt makes no progress until it is interrupted",
        "deaf_freeze": "the prompt makes no progress and takes no interrupt",
        "vanish": "the prompt ends without a history entry or an event",
        "interrupted": "the prompt ends as if somebody had sent a global interrupt",
        "kill": "the server dies as soon as the prompt executes",
        "ws_refused": "GET /ws answers 403",
        "ws_cut": "the socket ends after after= messages",
        "ws_deaf": "the socket gets its first status and nothing more",
        "ws_stalled": "nobody gets any events, as behind a reader that does not read",
    }
)


@dataclass
class Fault:
    """One injected fault; ``times`` is how often it is still to happen, or nothing for always."""

    name: str
    times: int | None = 1
    values: Mapping[str, Any] = field(default_factory=dict)


class Faults:
    """The faults that are waiting to happen. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def inject(self, name: str, *, times: int | None = 1, **values: Any) -> None:
        """Have ``name`` happen the next ``times`` times it can, or always.

        Raises:
            ValueError: there is no such fault.
        """
        if name not in FAULTS:
            raise ValueError(f"no fault {name!r}; there are: {', '.join(FAULTS)}")
        with self._lock:
            self._faults.append(Fault(name, times, values))

    def clear(self) -> None:
        """Have nothing go wrong any more."""
        with self._lock:
            self._faults.clear()

    def take(self, name: str, *, path: str = "") -> Fault | None:
        """The fault if it is to happen now, and one time fewer left."""
        with self._lock:
            for fault in self._faults:
                if fault.name == name and path.startswith(fault.values.get("path", "")):
                    self._use_up(fault)
                    return fault
        return None

    def is_active(self, name: str) -> bool:
        """Whether it is to happen, without using it up."""
        with self._lock:
            return any(fault.name == name for fault in self._faults)

    def _use_up(self, fault: Fault) -> None:
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self._faults.remove(fault)
