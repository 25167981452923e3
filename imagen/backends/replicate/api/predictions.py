"""A prediction in Replicate's answers, read leniently, as Replicate's documents disagree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from imagen.http.reading import read_iso_time

#: Source: the OpenAPI document and replicate.com/docs/topics/predictions/lifecycle (read
#: 2026-11). Any other status counts as unfinished; the deadline ends it.
TERMINAL_STATUSES = frozenset({"succeeded", "failed", "canceled", "aborted"})
_WORD = re.compile(r"[A-Za-z0-9][\w.:-]{0,127}", re.ASCII)
_LARGEST_NUMBER = 2**53


@dataclass(frozen=True, slots=True)
class Prediction:
    """One prediction. Times are Replicate's; ``inputs`` is None where the answer has none."""

    id: str
    status: str
    model: str = ""
    version: str = ""
    inputs: Mapping[str, Any] | None = None
    output: Any = None
    error: str = ""
    is_removed: bool = False
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL_STATUSES

    @property
    def took_s(self) -> float | None:
        """Seconds from creation to completion, by Replicate's clock."""
        if self.created_at is None or self.completed_at is None:
            return None
        return (self.completed_at - self.created_at).total_seconds()


def read_prediction(body: Any) -> Prediction | None:
    """The prediction in an answer's body; None where there is no readable one."""
    if not isinstance(body, Mapping) or not _is_word(body.get("id")):
        return None
    inputs, error = body.get("input"), body.get("error")
    return Prediction(
        id=body["id"],
        status=_word(body.get("status")),
        model=str(body.get("model") or ""),
        version=_word(body.get("version")),
        inputs=inputs if isinstance(inputs, Mapping) else None,
        output=body.get("output"),
        error=error if isinstance(error, str) else "" if error is None else str(error),
        is_removed=body.get("data_removed") is True,
        created_at=read_iso_time(body.get("created_at")),
        started_at=read_iso_time(body.get("started_at")),
        completed_at=read_iso_time(body.get("completed_at")),
        metrics=_numbers(body.get("metrics")),
    )


def _is_word(value: Any) -> bool:
    """Whether the value can stand in a URL path and in the ledger without any quoting."""
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def _word(value: Any) -> str:
    return value if _is_word(value) else ""


def _numbers(metrics: Any) -> Mapping[str, Any]:
    """The metrics that are plausible numbers; they are stored in the ledger and the image."""
    if not isinstance(metrics, Mapping):
        return {}
    return {
        name: value
        for name, value in metrics.items()
        if _is_word(name)
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < _LARGEST_NUMBER
    }
