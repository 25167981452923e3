"""Cleans and bounds prompts, and hashes them for the usage table."""

from __future__ import annotations

import hashlib
import re

from imagen.errors import RequestError

MAX_PROMPT_BYTES = 32_000

# NUL is refused by PostgreSQL and PostgREST, lone surrogates cannot be written as UTF-8.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean_prompt(text: str, *, what: str = "prompt") -> tuple[str, tuple[str, ...]]:
    """The text as it is stored and drawn, and warnings about what was removed.

    Raises:
        RequestError: the text is longer than 32,000 bytes of UTF-8.
    """
    cleaned, removed = _UNSTORABLE.subn("", text)
    size_bytes = len(cleaned.encode())
    if size_bytes > MAX_PROMPT_BYTES:
        raise RequestError(
            f"the {what} is {size_bytes:,} bytes long; the limit is {MAX_PROMPT_BYTES:,}",
            "shorten it",
        )
    if not removed:
        return cleaned, ()
    return cleaned, (f"removed {removed} character(s) from the {what} that cannot be stored",)


def require_prompt(text: str) -> tuple[str, tuple[str, ...]]:
    """As ``clean_prompt``, for the prompt itself, which may not be blank.

    Raises:
        RequestError: the prompt is blank or too long.
    """
    cleaned, warnings = clean_prompt(text)
    if not cleaned.strip():
        raise RequestError("the prompt is blank", 'for example: imagen generate "a red fox"')
    return cleaned, warnings


def hash_prompt(prompt: str) -> str:
    """The sha256, in hex, of the user's own prompt (before any style), encoded as UTF-8."""
    return hashlib.sha256(prompt.encode()).hexdigest()
