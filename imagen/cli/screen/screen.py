"""How commands write: answers on stdout, everything for people on stderr."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import threading
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from imagen.cli.screen.streams import OutputFailed, output_failed
from imagen.domain.printable import printable, printable_json, printable_line

_COLOUR = re.compile(r"\033\[[0-9;]*m")
_KEPT = re.compile(r"(\033\[[0-9;]*m|\t)")
_MOST_PATHS_TOLD = 20
#: All of them but those by which Python writes bytes that are no UTF-8: see PEP 383.
_UNWRITABLE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_COLOURS = {"red": 31, "green": 32, "yellow": 33, "cyan": 36, "dim": 2, "bold": 1}


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
        """A line on stdout: as it is for a program, without control characters for a terminal.

        Raises:
            OutputFailed: it cannot be written.
        """
        with self._lock:
            if self.out.isatty():
                text = _without_controls(text)
                if self.above_display is not None:
                    # Writing past the display would leave pieces of it behind.
                    self.above_display(text)
                    return
            try:
                _write_line(self.out, text)
            except OSError as error:
                raise output_failed(error) from error

    def answer_result(self, text: str, *, what: str) -> None:
        """As ``answer``, for what a job came to; told on stderr where it cannot be written.

        Raises:
            OutputFailed: it cannot be written.
        """
        try:
            self.answer(printable_line(text) if self.out.isatty() else text)
        except OutputFailed:
            self.say(f"{what}: {text}")
            raise

    def answer_json(self, content: Mapping[str, Any]) -> None:
        """One JSON object on stdout; what JSON does not know becomes text.

        Raises:
            OutputFailed: it cannot be written; the paths in it have been told on stderr.
        """
        try:
            self.answer(json_text(content, indent=2))
        except OutputFailed:
            for path in _paths_in(content):
                self.say(f"the image is there: {path}")
            raise

    def say(self, text: str) -> None:
        """Lines on stderr, for people; lost where it cannot be written."""
        text = _without_controls(text)
        with self._lock:
            if self.above_display is not None:
                self.above_display(text)
                return
            with contextlib.suppress(OSError):
                _write_line(self.err, text)

    def clear_line(self) -> None:
        """Take away what stands on the terminal's line, such as the ``^C`` that it echoes."""
        if self.is_terminal:
            with contextlib.suppress(OSError):
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
        text = _UNWRITABLE.sub(lambda match: printable(match[0]), text)
    stream.write(text + "\n")
    stream.flush()


def json_text(content: object, *, indent: int | None = None) -> str:
    """The content as JSON, with escapes for what a terminal would obey."""
    text = json.dumps(content, ensure_ascii=False, indent=indent, default=str)
    return printable_json(text)


def _paths_in(content: Mapping[str, Any]) -> list[str]:
    """The files that an answer about one job or several names."""
    jobs = content.get("jobs", [content])
    paths = (job.get("path") for job in jobs if "sidecar" in job)
    return [path for path in paths if path][:_MOST_PATHS_TOLD]


def _without_controls(text: str) -> str:
    """The text with nothing that a terminal would obey, but for our own colours and tabs.

    Whatever text of others a command forgot to clean ends here.
    """
    if text.isprintable():
        return text
    return "".join(
        part if _COLOUR.fullmatch(part) or part == "\t" else printable(part)
        for part in _KEPT.split(text)
    )


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
    """Aligned lines, two spaces between the columns, nothing behind the last one.

    Cells are cleaned: they come from a ledger or a server.
    """
    lines = [[printable_line(cell) for cell in line] for line in (header, *rows)]
    widths = [max(width_of(line[column]) for line in lines) for column in range(len(header))]
    return [
        "  ".join(
            cell + " " * (width - width_of(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
