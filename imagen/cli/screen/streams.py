"""Makes the process's standard streams safe: closed, full, or without a reader."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer


class OutputFailed(Exception):
    """The answer could not be written to standard output; says why."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        is_closed = error.errno == errno.EBADF
        self.reason = "it is closed" if is_closed else error.strerror or type(error).__name__


class OutputClosed(OutputFailed):
    """The program that read the output has ended, as in ``imagen jobs ls | head``."""


def output_failed(error: OSError) -> OutputFailed:
    return (OutputClosed if isinstance(error, BrokenPipeError) else OutputFailed)(error)


class _Answers(io.FileIO):
    """Standard output. The first failed write raises ``OutputFailed``; later ones are discarded.

    Not an ``OSError``: click would end the process with 1 at a broken pipe, which means that a
    job failed, and the interpreter would report the error once more when it exits.
    """

    def write(self, data: Buffer) -> int:
        try:
            return super().write(data)
        except OSError as error:
            _discard_from_now_on(self.fileno())
            raise output_failed(error) from error


class _Messages(io.FileIO):
    """Standard error. Messages that cannot be written are discarded."""

    def write(self, data: Buffer) -> int:
        try:
            return super().write(data)
        except OSError:
            _discard_from_now_on(self.fileno())
            return super().write(data)


def guard_streams() -> None:
    """Make this process's standard streams safe; call it before any file is opened."""
    _fill_closed_descriptors()
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", closefd=False)))
    sys.stdout = _wrapped(_Answers(1, "w", closefd=False), sys.stdout)
    sys.stderr = _wrapped(_Messages(2, "w", closefd=False), sys.stderr)


def _fill_closed_descriptors() -> None:
    """Open closed descriptors, so that no other file becomes standard output.

    stdin is opened for writing and stdout for reading, so that using them still fails.
    """
    for descriptor, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)


def _wrapped(raw: io.FileIO, before: TextIO | None) -> io.TextIOWrapper:
    """A text stream like the one that the interpreter made; ``before`` is None if it was closed."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if before is None else before.encoding,
        errors="replace" if before is None else before.errors,
        line_buffering=before is None or bool(getattr(before, "line_buffering", False)),
    )


def _discard_from_now_on(descriptor: int) -> None:
    """Redirect the descriptor, with what is still in buffers, to the null device."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
