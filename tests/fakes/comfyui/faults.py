"""What may be made to go wrong in the fake, one name each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tests.fakes.faults import FaultQueue

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
        "interrupted": "the prompt ends as after a global interrupt of another client",
        "kill": "the server dies as soon as the prompt executes",
        "ws_refused": "GET /ws answers 403",
        "ws_cut": "the socket ends after after= messages",
        "ws_deaf": "the socket gets its first status and nothing more",
        "ws_stalled": "no socket gets any events, as behind a reader that does not read",
    }
)


@dataclass(frozen=True)
class ComfyUIFault:
    """A fault by its name, with the values that it needs."""

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, name: str, path: str) -> bool:
        return self.name == name and path.startswith(self.values.get("path", ""))


class Faults:
    """The faults that are waiting to strike, by their names. Thread-safe."""

    def __init__(self) -> None:
        self._queue: FaultQueue[ComfyUIFault] = FaultQueue()

    def inject(self, name: str, *, times: int | None = 1, **values: Any) -> None:
        """Have ``name`` happen the next ``times`` times it can, or always.

        Raises:
            ValueError: there is no such fault.
        """
        if name not in FAULTS:
            raise ValueError(f"no fault {name!r}; there are: {', '.join(FAULTS)}")
        self._queue.inject(ComfyUIFault(name, values), times)

    def clear(self) -> None:
        """Forget the injected faults."""
        self._queue.clear()

    def take(self, name: str, *, path: str = "") -> ComfyUIFault | None:
        """The fault if it is to strike now, and one time fewer of it."""
        return self._queue.next(lambda fault: fault.fits(name, path))

    def is_active(self, name: str) -> bool:
        """Whether it would strike; it stays."""
        return self._queue.is_waiting(lambda fault: fault.fits(name, ""))
