"""Makes untrusted text safe for a terminal: control characters become escapes."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable


def printable(text: str) -> str:
    """The text with control characters and bidirectional overrides escaped, except line ends."""
    if text.isprintable():
        # The usual case, found fifty times as fast.
        return text
    return text.translate(_ESCAPES)


def printable_line(text: str) -> str:
    """The same on one line: line ends become spaces."""
    return printable(text.replace("\n", " "))


def printable_json(text: str) -> str:
    """JSON in which such characters are escaped as JSON does; it means the same."""
    return text if text.isprintable() else text.translate(_JSON_ESCAPES)


class _Escapes(dict[int, str]):
    """A cache of what each character becomes: fast for megabytes of text."""

    def __init__(self, escape: Callable[[str], str]) -> None:
        super().__init__({ord("\n"): "\n"})
        self._escape = escape

    def __missing__(self, code: int) -> str:
        character = chr(code)
        shown = self._escape(character) if _is_control(character) else character
        self[code] = shown
        return shown


def _is_control(character: str) -> bool:
    # Cs holds lone surrogates, which no terminal's encoding knows; Cf the bidirectional overrides,
    # but also the joiner inside many emoji.
    category = unicodedata.category(character)
    return category in ("Cc", "Cs") or (category == "Cf" and character != "\u200d")


_ESCAPES = _Escapes(lambda character: character.encode("unicode_escape").decode("ascii"))
_JSON_ESCAPES = _Escapes(lambda character: json.dumps(character)[1:-1])
