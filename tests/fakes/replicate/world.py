"""What the fake Replicate knows: its predictions, how they go on, and who asked for what."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.fakes.http import RecordedRequest
from tests.fakes.replicate.faults import ReplicateFault

_ID_LETTERS = "abcdefghjkmnpqrstvwxyz0123456789"
NSFW_TEXT = (
    "All generated images contained NSFW content. Try running it again with a different prompt."
)
_FAILURES = {
    ReplicateFault.MODERATED: (
        "Prediction failed: Async prediction failed: ModelError: The input or output was flagged"
        " as sensitive. Please try again with different inputs. (E005) (x1)"
    ),
    ReplicateFault.NSFW: NSFW_TEXT,
    ReplicateFault.INTERRUPTED: "Prediction interrupted; please retry (code: PA)",
    ReplicateFault.BROKEN: "ValueError: the model does not like this one",
    ReplicateFault.SILENT_FAILURE: "",
}


@dataclass
class Made:
    """One prediction; times are seconds since the epoch."""

    id: str
    model: str
    inputs: Mapping[str, Any]
    #: When the headers of its create call were read, and when the body.
    asked_at: float
    read_at: float
    created_at: float
    visible_at: float
    starts_at: float
    ends_at: float
    fault: ReplicateFault | None = None
    cancel_after_s: float | None = None
    canceled_at: float | None = None
    #: When a GET first told that it had ended.
    told_at: float | None = None
    polls: int = 0

    def status(self, now: float) -> str:
        if self.canceled_at is not None and self.canceled_at <= min(now, self.ends_at):
            return "canceled" if self.canceled_at >= self.starts_at else "aborted"
        if now < self.starts_at:
            return "starting"
        if now < self.ends_at:
            return "thinking" if self.fault is ReplicateFault.STRANGE_STATUS else "processing"
        if self.fault in _FAILURES:
            return "failed"
        if self.fault is ReplicateFault.ABORTED:
            return "aborted"
        return "canceled" if self.fault is ReplicateFault.CANCELED_BY_OTHERS else "succeeded"

    def ended_at(self) -> float:
        return self.ends_at if self.canceled_at is None else min(self.canceled_at, self.ends_at)

    @property
    def error(self) -> str | None:
        return _FAILURES.get(self.fault) if self.fault is not None else None


@dataclass
class PredictionStore:
    """State behind the servers. Every method may be called from any thread.

    Attributes:
        queue_s, draw_s: how long a prediction waits and runs; ``jitter`` is the share by which
            the second varies at random.
        list_lag_s: how long a prediction stays out of the list.
        late_s: see ``Fault``.
        retention_s: how long inputs and outputs are kept.
    """

    queue_s: float = 0.0
    draw_s: float = 0.02
    jitter: float = 0.0
    list_lag_s: float = 0.0
    late_s: float = 0.3
    retention_s: float = 3600.0
    seed: int = 0
    calls: list[RecordedRequest] = field(default_factory=list)
    made: dict[str, Made] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._dice = random.Random(self.seed)

    def note(self, call: RecordedRequest) -> None:
        with self._lock:
            self.calls.append(call)

    def create(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        fault: ReplicateFault | None,
        asked_at: float | None = None,
        delay_s: float = 0.0,
        cancel_after_s: float | None = None,
    ) -> Made:
        """A new prediction, created ``delay_s`` from now."""
        with self._lock:
            now = time.time()
            created_at = now + delay_s
            swing = self._dice.uniform(-self.jitter, self.jitter) if self.jitter else 0.0
            starts_at = created_at + self.queue_s
            ends_at = starts_at + self.draw_s * (1 + swing)
            if fault is ReplicateFault.NEVER_STARTS:
                starts_at = ends_at = float("inf")
            if fault is ReplicateFault.NEVER_ENDS:
                ends_at = float("inf")
            lag_s = self.late_s if fault is ReplicateFault.LATE_IN_LIST else self.list_lag_s
            one = Made(
                id="".join(self._dice.choice(_ID_LETTERS) for _ in range(26)),
                model=model,
                inputs=dict(inputs),
                asked_at=now if asked_at is None else asked_at,
                read_at=now,
                created_at=created_at,
                visible_at=created_at + lag_s,
                starts_at=starts_at,
                ends_at=ends_at,
                fault=fault,
                cancel_after_s=cancel_after_s,
            )
            if cancel_after_s is not None and ends_at > created_at + cancel_after_s:
                one.canceled_at = created_at + cancel_after_s
            self.made[one.id] = one
            return one

    def find(self, prediction_id: str) -> Made | None:
        with self._lock:
            one = self.made.get(prediction_id)
            return one if one is not None and one.created_at <= time.time() else None

    def poll(self, one: Made) -> None:
        """Note that a GET has told about a prediction."""
        with self._lock:
            now = time.time()
            one.polls += 1
            if one.told_at is None and now >= one.ended_at():
                one.told_at = now

    def cancel(self, one: Made) -> None:
        with self._lock:
            now = time.time()
            if now < one.ended_at():
                one.canceled_at = now

    def listed(self, *, after: float, before: float) -> list[Made]:
        """Predictions created in that time that the list shows by now, the newest first."""
        now = time.time()
        with self._lock:
            shown = [
                one
                for one in self.made.values()
                if one.visible_at <= now and after <= one.created_at < before
            ]
        return sorted(shown, key=lambda one: (-one.created_at, one.id))

    def created_count(self, *, prompt: str | None = None, seed: int | None = None) -> int:
        """How many predictions were ever created, of this prompt and seed where given."""
        with self._lock:
            return sum(
                prompt in (None, one.inputs.get("prompt"))
                and seed in (None, one.inputs.get("seed"))
                for one in self.made.values()
            )

    def stats(self) -> dict[str, Any]:
        """Counts for other processes; see ``/_fake/stats``."""
        with self._lock:
            made = list(self.made.values())
            calls = Counter(
                f"{call.host} {call.method} {route_of(call.path)}" for call in self.calls
            )
        orders = Counter(order_key(one.model, one.inputs) for one in made)
        return {
            "created": len(made),
            "orders": dict(orders),
            "created_by_seed": dict(Counter(str(one.inputs.get("seed")) for one in made)),
            "calls": dict(calls),
            "predictions": [
                {
                    "id": one.id,
                    "model": one.model,
                    "seed": one.inputs.get("seed"),
                    "fault": one.fault.label if one.fault else None,
                    "status": one.status(time.time()),
                    "created_at": one.created_at,
                    "ready_at": None if one.ends_at == float("inf") else one.ends_at,
                    "told_at": one.told_at,
                    "polls": one.polls,
                }
                for one in made
            ],
        }


def order_key(model: str, inputs: Mapping[str, Any]) -> str:
    """Equal for predictions of equal model and input."""
    told = json.dumps([model, dict(inputs)], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def route_of(path: str) -> str:
    """The kind of a path: ids and names taken out."""
    parts = path.partition("?")[0].strip("/").split("/")
    if parts[:2] == ["v1", "predictions"]:
        kept = ["v1", "predictions", *(["ID"] if len(parts) > 2 else []), *parts[3:]]
        return "/" + "/".join(kept)
    if parts[:2] == ["v1", "models"]:
        return "/v1/models/NAME" + ("/predictions" if parts[-1] == "predictions" else "")
    return "/output" if parts[0] == "output" else "/" + "/".join(parts)


def as_time(moment: float) -> str:
    """ISO 8601 in UTC, as Replicate writes it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
