"""What a backend returns, and what it reports of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from imagen.domain.cost import Cost
from imagen.domain.request import ImageRequest


@dataclass(frozen=True, slots=True)
class Drawn:
    """One image from a backend.

    Attributes:
        data: the encoded image, PNG, JPEG or WebP; the bytes are not trusted, only sniffed.
        model: what drew it, as the backend names it.
        seed: the seed that the model was given; None where it takes none.
        steps: sampling steps really used; None where the backend does not report them.
        cost: what it cost; see ``Cost``.
        negative: the negative prompt that the model was given, "" where it takes none; None
            where it is the request's.
        details: JSON-able facts for the sidecar that are needed to draw it again
            (workflow, guidance, model version). No secrets.
        warnings: sentences for the user.
    """

    data: bytes
    model: str
    seed: int | None
    steps: int | None
    cost: Cost
    details: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    negative: str | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """A request as a backend will draw it, and a sentence for each change."""

    request: ImageRequest
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a backend can draw now.

    Attributes:
        state: ``ok``, ``not configured`` or ``unreachable`` (which includes "broken").
        reason: why it is not ok, or what it runs on; one line.
        hint: what to do or type next, or "".
        warnings: faults that do not keep it from drawing.
    """

    state: Literal["ok", "not configured", "unreachable"]
    reason: str = ""
    hint: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def is_ok(self) -> bool:
        return self.state == "ok"

    def __str__(self) -> str:
        if self.state == "ok":
            return f"ok: {self.reason}" if self.reason else "ok"
        if self.state == "not configured":
            return f"not configured ({self.hint or self.reason})"
        return f"unreachable: {self.reason}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True, slots=True)
class Work:
    """A kind of drawing: jobs of the same kind take about as long.

    The model, its sampling steps (None where it takes none) and the size in pixels.
    """

    model: str
    steps: int | None
    width: int
    height: int
