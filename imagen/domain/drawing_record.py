"""What was asked for and what was drawn: the record behind every answer about an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from imagen.domain.drawn import Drawn
from imagen.domain.request import ImageRequest
from imagen.domain.size import Size


@dataclass(frozen=True, slots=True)
class Requested:
    """What was asked for, before the backend fitted it; kept with the job.

    Attributes:
        width, height: pixels as asked for, or the default size.
        steps: None where the backend's default applies.
        warnings: what the user was told at the submission.
    """

    width: int
    height: int
    steps: int | None = None
    negative: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that ``requested_from_json`` reads back; unset fields are left out."""
        return _without_unset(asdict(self))


@dataclass(frozen=True, slots=True)
class DrawingRecord:
    """What one attempt was asked for and what it drew; kept with the attempt.

    Attributes:
        width, height: pixels of the image itself.
        model: what drew it; None before it is drawn.
        seed, steps, negative: as the model got them; None and "" where it takes none.
        warnings: of the submission and of the drawing, each once.
    """

    requested: Requested
    width: int
    height: int
    model: str | None
    seed: int | None
    steps: int | None
    negative: str = ""
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, requested: Requested, request: ImageRequest, drawn: Drawn, *, size: Size | None
    ) -> Self:
        """The record of an image; ``size`` is its own; None where it could not be read."""
        real = size or request.size
        return cls(
            requested=requested,
            width=real.width,
            height=real.height,
            model=drawn.model,
            seed=drawn.seed,
            steps=drawn.steps,
            negative=request.negative if drawn.negative is None else drawn.negative,
            warnings=tuple(dict.fromkeys((*requested.warnings, *drawn.warnings))),
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object that ``record_from_json`` reads back; unset fields are left out."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return _without_unset(values | {"requested": self.requested.to_json()})


def requested_of(request: ImageRequest) -> Requested:
    """What was asked for by a job of an older version: only the fitted request is known."""
    return Requested(request.width, request.height, request.steps, request.negative)


def requested_from_json(data: Mapping[str, Any] | None) -> Requested | None:
    """What ``Requested.to_json`` wrote; keys of newer versions are ignored."""
    if not data:
        return None
    known = _known(data, Requested)
    return Requested(**known | {"warnings": tuple(data.get("warnings", ()))})


def record_from_json(data: Mapping[str, Any] | None) -> DrawingRecord | None:
    """What ``DrawingRecord.to_json`` wrote; keys of newer versions are ignored."""
    requested = requested_from_json(data["requested"]) if data else None
    if not data or requested is None:
        return None
    unset = {"model": None, "seed": None, "steps": None}
    known = unset | _known(data, DrawingRecord)
    return DrawingRecord(
        **known | {"requested": requested, "warnings": tuple(data.get("warnings", ()))}
    )


def _known(data: Mapping[str, Any], cls: type[Requested] | type[DrawingRecord]) -> dict[str, Any]:
    return {key: data[key] for key in cls.__dataclass_fields__ if key in data}


def _without_unset(values: Mapping[str, Any]) -> dict[str, Any]:
    plain = {key: list(each) if isinstance(each, tuple) else each for key, each in values.items()}
    return {key: each for key, each in plain.items() if each not in (None, "", [])}
