"""How commands write: answers on stdout, everything for people on stderr."""

from __future__ import annotations

import json
import re
import sys
import threading
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

_SURROGATES = re.compile("[\ud800-\udfff]")
#: All of them but those by which Python writes bytes that are no UTF-8: see PEP 383.
_UNWRITABLE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_COLOURS = {"red": 31, "green": 32, "yellow": 33, "cyan": 36, "dim": 2, "bold": 1}


class OutputClosed(Exception):
    """Whoever read our output has heard enough, as in ``imagen jobs ls | head``."""


@dataclass
class Screen:
    """The two streams of a command. Threads may share it."""

    out: TextIO
    err: TextIO
    env: Mapping[str, str]
    #: Stands in for stderr while a live display owns the lower end of the terminal.
    above_display: Callable[[str], None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_terminal(self) -> bool:
        """Whether somebody watches: stderr is a terminal that can move its cursor."""
        return self.err.isatty() and self.env.get("TERM") != "dumb"

    @property
    def is_coloured(self) -> bool:
        # Source: no-color.org: set to anything but nothing.
        return self.is_terminal and not self.env.get("NO_COLOR")

    def answer(self, text: str) -> None:
        """A line on stdout, as it is."""
        with self._lock:
            if self.above_display is not None and self.out.isatty():
                # The same terminal: writing past the display would leave pieces of it behind.
                self.above_display(text)
                return
            _write_line(self.out, text)

    def answer_json(self, content: Mapping[str, Any]) -> None:
        """One JSON object on stdout; what JSON does not know becomes text."""
        text = json.dumps(content, ensure_ascii=False, indent=2, default=str)
        if not text.isascii():
            # JSON is UTF-8, which cannot hold them, but has escapes for them.
            text = _SURROGATES.sub(lambda match: _escaped(match[0]), text)
        self.answer(text)

    def say(self, text: str) -> None:
        """Lines on stderr, for people."""
        with self._lock:
            if self.above_display is not None:
                self.above_display(text)
                return
            _write_line(self.err, text)

    def clear_line(self) -> None:
        """Take away what stands on the terminal's line, such as the ``^C`` that it echoes."""
        if self.is_terminal:
            self.err.write("\r\033[K")

    def warn(self, text: str) -> None:
        self.say(f"{self.paint('warning:', 'yellow')} {printable(text)}")

    def paint(self, text: str, *colours: str) -> str:
        """The text in colours where stderr has them."""
        return paint(text, *colours) if self.is_coloured else text

    def paint_answer(self, text: str, *colours: str) -> str:
        """The same for stdout."""
        coloured = self.out.isatty() and not self.env.get("NO_COLOR")
        return paint(text, *colours) if coloured and self.env.get("TERM") != "dumb" else text


def _write_line(stream: TextIO, text: str) -> None:
    if not text.isascii():
        # Bytes of a path that are no UTF-8 stand for themselves, other lone surrogates for nothing.
        text = _UNWRITABLE.sub(lambda match: _escaped(match[0]), text)
    try:
        stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError as error:
        # Under a name of ours: click would end the process with 1, which means a failed job.
        raise OutputClosed from error


def standard_screen(env: Mapping[str, str]) -> Screen:
    """The process's own streams, made safe for any file name."""
    for stream in (sys.stdout, sys.stderr):
        # A path may hold bytes that are no UTF-8, and a locale may know no umlaut: neither is a
        # reason to fail after the image was drawn.
        utf8 = (stream.encoding or "").lower().replace("-", "") == "utf8"
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")
    return Screen(sys.stdout, sys.stderr, env)


def paint(text: str, *colours: str) -> str:
    codes = ";".join(str(_COLOURS[colour]) for colour in colours)
    return f"\033[{codes}m{text}\033[0m"


def printable(text: str) -> str:
    """The text without what would move the cursor or turn the line around; line ends stay."""
    if text.isprintable():
        # Nearly always, and fifty times as fast to find out.
        return text
    return text.translate(_ESCAPES)


class _Escapes(dict[int, str]):
    """What each character becomes, found out once for each: fast for megabytes of text."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        shown = _escaped(character) if _is_control(character) else character
        self[code] = shown
        return shown


_ESCAPES = _Escapes({ord("\n"): "\n"})


def _is_control(character: str) -> bool:
    # Cf holds the bidirectional overrides, but also the joiner inside many emoji.
    category = unicodedata.category(character)
    return category in ("Cc", "Cs") or (category == "Cf" and character != "\u200d")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def width_of(text: str) -> int:
    """Columns that the text takes in a terminal, colours left out."""
    plain = text
    while "\033[" in plain:
        before, _, rest = plain.partition("\033[")
        plain = before + rest.partition("m")[2]
    return sum(_columns(character) for character in plain)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def clip(text: str, columns: int) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    if width_of(text) <= columns:
        return text
    kept, used = "", 1
    for character in text:
        used += _columns(character)
        if used > columns:
            break
        kept += character
    return kept + "…"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned lines, two spaces between the columns, nothing behind the last one."""
    lines = [header, *rows]
    widths = [max(width_of(line[column]) for line in lines) for column in range(len(header))]
    return [
        "  ".join(
            cell + " " * (width - width_of(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
