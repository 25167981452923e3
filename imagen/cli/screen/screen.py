"""How commands write: answers on stdout, everything for people on stderr."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from imagen.cli.screen.streams import OutputFailed, output_failed
from imagen.domain.printable import printable, printable_json, printable_line

_COLOUR = re.compile(r"\033\[[0-9;]*m")
_KEPT = re.compile(r"(\033\[[0-9;]*m|\t)")
_MOST_PATHS_TOLD = 20
#: Lone surrogates, except those that stand for bytes that are not UTF-8 (PEP 383).
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
        """Whether stderr is a terminal that can move its cursor."""
        return self.err.isatty() and self.env.get("TERM") != "dumb"

    @property
    def is_coloured(self) -> bool:
        # Source: no-color.org: set to anything but nothing.
        return self.is_terminal and not self.env.get("NO_COLOR")

    def answer(self, text: str) -> None:
        """Write a line to stdout; control characters are taken out for a terminal only.

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
        """As ``answer``, for the result of a job; written to stderr when stdout fails.

        Raises:
            OutputFailed: it cannot be written.
        """
        try:
            self.answer(printable_line(text) if self.out.isatty() else text)
        except OutputFailed:
            self.say(f"{what}: {text}")
            raise

    def answer_json(self, content: Mapping[str, Any]) -> None:
        """Write one JSON object to stdout; values that JSON does not have become text.

        Raises:
            OutputFailed: it cannot be written; its paths were written to stderr.
        """
        try:
            self.answer(json_text(content, indent=2))
        except OutputFailed:
            for path in _paths_in(content):
                self.say(f"the image is there: {path}")
            raise

    def say(self, text: str) -> None:
        """Write lines for people to stderr; lost when it cannot be written."""
        text = _without_controls(text)
        with self._lock:
            if self.above_display is not None:
                self.above_display(text)
                return
            with contextlib.suppress(OSError):
                _write_line(self.err, text)

    def clear_line(self) -> None:
        """Remove the text of the terminal's current line, such as an echoed ``^C``."""
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
        # Surrogates of PEP 383 are written as the bytes they stand for; others cannot be written.
        text = _UNWRITABLE.sub(lambda match: printable(match[0]), text)
    stream.write(text + "\n")
    stream.flush()


def json_text(content: object, *, indent: int | None = None) -> str:
    """The content as JSON; characters that control a terminal are escaped."""
    text = json.dumps(content, ensure_ascii=False, indent=indent, default=str)
    return printable_json(text)


def _paths_in(content: Mapping[str, Any]) -> list[str]:
    """The image files in an answer about one job or several."""
    jobs = content.get("jobs", [content])
    paths = (job.get("path") for job in jobs if "sidecar" in job)
    return [path for path in paths if path][:_MOST_PATHS_TOLD]


def _without_controls(text: str) -> str:
    """The text without characters that control a terminal, except imagen's colours and tabs.

    A second line of defence: commands clean foreign text themselves.
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
        # A path may hold bytes that are not UTF-8, and a locale may have no umlaut: neither may
        # fail a command after the image was drawn.
        utf8 = (stream.encoding or "").lower().replace("-", "") == "utf8"
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")
    return Screen(sys.stdout, sys.stderr, env)


def paint(text: str, *colours: str) -> str:
    codes = ";".join(str(_COLOURS[colour]) for colour in colours)
    return f"\033[{codes}m{text}\033[0m"
