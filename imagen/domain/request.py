"""What to draw, with every default resolved: the part of a job that a backend sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

from imagen.domain.size import Size

MAX_SEED = 2**63 - 1
#: Seeds that imagen draws itself, from 1 to this, inclusive.
MAX_DRAWN_SEED = 2**32 - 1

#: Formats that may be asked for, by file suffix.
FORMAT_BY_SUFFIX: Mapping[str, str] = MappingProxyType(
    {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
)
#: The suffix, without its dot, that a file of a format is given.
EXT_BY_FORMAT: Mapping[str, str] = MappingProxyType({"png": "png", "jpeg": "jpg", "webp": "webp"})


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One image to draw.

    Attributes:
        prompt: the text as the user gave it; what ``prompt_hash`` is made of.
        styled_prompt: the whole text that the backend draws, style applied.
        width, height: pixels.
        seed: 1..2**63-1; never 0, a seed is drawn at submission.
        steps: sampling steps, or None for the backend's default.
        format: ``png``, ``jpeg`` or ``webp``: what the user would like to get.
        options: ``--opt key=value`` pairs, for the adapter alone.
    """

    prompt: str
    styled_prompt: str
    width: int
    height: int
    seed: int
    steps: int | None = None
    negative: str = ""
    format: str = "png"
    style: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)

    def with_size(self, size: Size) -> ImageRequest:
        return replace(self, width=size.width, height=size.height)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that ``request_from_json`` reads back; unset fields are left out."""
        values = {_STORED_AS.get(name, name): value for name, value in asdict(self).items()}
        return {key: value for key, value in values.items() if value not in (None, "", {})}


#: Fields that rows of the ledger hold under another key, from before they were renamed.
_STORED_AS = {"prompt": "user_prompt", "styled_prompt": "prompt"}


def request_from_json(data: Mapping[str, Any]) -> ImageRequest:
    """The request that ``ImageRequest.to_json`` wrote; keys of newer versions are ignored."""
    keys = {name: _STORED_AS.get(name, name) for name in ImageRequest.__dataclass_fields__}
    return ImageRequest(**{name: data[key] for name, key in keys.items() if key in data})
