"""The record as text, and what of it may travel with an image."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

#: More text than this is not read from one file, all its texts taken together: a few hundred bytes
#: can unpack to gigabytes.
MAX_TEXT_BYTES = 8 * 1024 * 1024
#: The longest record that is written, and read.
MAX_RECORD_CHARS = MAX_TEXT_BYTES // 4

_AWKWARD = re.compile("[\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

# What stays in ``safe`` mode. A list of what is allowed, because details and options hold
# whatever a backend put there: ComfyUI's workflow has the prompt in it, twice.
_SAFE_KEYS = frozenset(
    {
        *("schema_version", "imagen", "job_id", "attempt_id", "created_at"),
        *("backend", "model", "seed", "steps", "width", "height", "format", "requested_size"),
    }
)
# What goes first where a record is too long for its place, and is in the sidecar anyway.
_LONGEST_FIRST = ("details", "options", "warnings", "drawn_prompt", "negative", "prompt")


def keep_safe(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record without a word of the user's."""
    return {key: value for key, value in record.items() if key in _SAFE_KEYS}


def write_record(record: Mapping[str, Any], *, fits: Callable[[str], bool]) -> str:
    """The record as one line of JSON that ``fits`` accepts.

    Where it must, long parts are left out and named under ``left_out``.
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
    """The record that ``write_record`` wrote, or nothing where the text is none."""
    if len(text) > MAX_RECORD_CHARS:
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "job_id" in record else None


def _to_line(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    # JSON can escape what UTF-8 (lone surrogates) or XML cannot hold, and what upsets editors.
    return _AWKWARD.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
