"""The record as text, the parts of it that are safe to publish, and how much text is read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

#: More text than this is not read from one file, all its texts taken together: a few hundred bytes
#: can unpack to gigabytes.
MAX_TEXT_BYTES = 8 * 1024 * 1024
#: The longest record that is written, and read.
MAX_RECORD_CHARS = MAX_TEXT_BYTES // 4

_AWKWARD = re.compile("[\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

# The keys of ``safe`` mode. They are listed because details and options hold anything that a
# backend puts there: ComfyUI's workflow has the prompt in it, twice.
_SAFE_KEYS = frozenset(
    {
        *("schema_version", "imagen", "job_id", "attempt_id", "created_at"),
        *("backend", "model", "seed", "steps", "width", "height", "format", "requested_size"),
    }
)
# What is left out first where a record is too long; the sidecar has it all.
_LONGEST_FIRST = ("details", "options", "warnings", "drawn_prompt", "negative", "prompt")


@dataclass
class TextBudget:
    """How many bytes of text may still be read from one file, all its texts taken together."""

    left_bytes: int = MAX_TEXT_BYTES

    def take(self, size_bytes: int) -> bool:
        """Takes ``size_bytes`` where so many are left; else takes none and returns False."""
        if size_bytes > self.left_bytes:
            return False
        self.left_bytes -= size_bytes
        return True

    def give_back(self, size_bytes: int) -> None:
        self.left_bytes += size_bytes


def keep_safe(record: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of the record that hold no text of the user."""
    return {key: value for key, value in record.items() if key in _SAFE_KEYS}


def write_record(record: Mapping[str, Any], *, fits: Callable[[str], bool]) -> str:
    """The record as one line of JSON that ``fits`` accepts.

    Long parts are left out where needed, and named under ``left_out``.
    """
    kept, left_out = dict(record), list[str]()
    text = _to_line(kept)
    for key in _LONGEST_FIRST:
        if fits(text):
            break
        if kept.pop(key, None):
            left_out.append(key)
            text = _to_line({**kept, "left_out": left_out})
    return text


def parse_record(text: str) -> dict[str, Any] | None:
    """The record that ``write_record`` wrote; None where the text is none."""
    if len(text) > MAX_RECORD_CHARS:
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "job_id" in record else None


def _to_line(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    # Escaped: what UTF-8 (lone surrogates) or XML cannot hold, and control characters.
    return _AWKWARD.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
