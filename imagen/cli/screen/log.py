"""Writes log records to stderr: in sentences for people, in JSON lines for a worker's journal."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from imagen.cli.screen.screen import json_text
from imagen.cli.shell import Shell
from imagen.domain.printable import printable
from imagen.errors import ConfigError

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
#: The attributes of every record; any other was given as ``extra``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def set_up_logging(shell: Shell, *, usual: str = "warning", for_journal: bool = False) -> None:
    """Send imagen's records of IMAGEN_LOG's level, or the ``usual`` one, to stderr.

    Other libraries log addresses, so only their warnings and errors are written. ``for_journal``
    makes JSON lines where stderr is not a terminal.

    Raises:
        ConfigError: IMAGEN_LOG names no level.
    """
    name = shell.env.get("IMAGEN_LOG", "").strip().lower() or usual
    if name not in _LEVELS:
        raise ConfigError(
            f"IMAGEN_LOG names {name!r}, which is no level", f"use one of {', '.join(_LEVELS)}"
        )
    as_json = for_journal and not shell.screen.err.isatty()
    handler = _ScreenHandler(shell)
    if not for_journal:
        handler.addFilter(lambda record: not shell.is_over or record.levelno >= logging.ERROR)
    with_traceback = for_journal or bool(shell.env.get("IMAGEN_DEBUG"))
    handler.setFormatter(_JsonLines() if as_json else _Sentences(with_traceback=with_traceback))
    # A process that runs several commands replaces the handler, and writes each record once.
    root, ours = logging.getLogger(), logging.getLogger("imagen")
    for old in [each for each in root.handlers if isinstance(each, _ScreenHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    ours.setLevel(_LEVELS[name])


class _ScreenHandler(logging.Handler):
    """Writes above a live display, not into it."""

    def __init__(self, shell: Shell) -> None:
        super().__init__()
        self._shell = shell

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._shell.screen.say(self.format(record))
        except Exception:
            self.handleError(record)


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class _Sentences(logging.Formatter):
    def __init__(self, *, with_traceback: bool) -> None:
        super().__init__()
        self._with_traceback = with_traceback

    def format(self, record: logging.LogRecord) -> str:
        extras = "".join(f" {key}={value}" for key, value in _extras(record).items())
        line = printable(f"{record.levelname.lower()}: {record.getMessage()}{extras}")
        if record.exc_info and self._with_traceback:
            line += "\n" + self.formatException(record.exc_info)
        return line


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **_extras(record),
        }
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return json_text(content)
