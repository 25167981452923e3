"""The prompts of a batch file: one a line, blank lines and ``#`` comments skipped."""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from imagen.domain.prompt import MAX_PROMPT_BYTES
from imagen.errors import RequestError, unreadable_stdin
from imagen.services.submit.prompt_formats import HEAD_BYTES, require_prompt_lines

#: More than three million prompts of usual length.
MAX_FILE_BYTES = 512 * 1024 * 1024
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PromptLine:
    """A prompt: ``number`` counts the lines of the file, ``position`` its prompts, both from 1."""

    number: int
    position: int
    prompt: str


@dataclass(frozen=True)
class PromptFile:
    """A file of prompts that was read through once and has no mistake."""

    file: IO[bytes]
    label: str
    sha256: str
    count: int

    def lines(self) -> Iterator[PromptLine]:
        """The prompts in order; reads the file afresh, one line at a time."""
        self.file.seek(0)
        return _lines(self.file, self.label)


@contextmanager
def open_prompts(
    source: str, stdin: IO[bytes], *, max_bytes: int = MAX_FILE_BYTES
) -> Iterator[PromptFile]:
    """The prompts of a file, or of ``stdin`` for ``-``; the whole of it is checked first.

    Raises:
        RequestError: missing, a folder, a table or another format, larger than ``max_bytes``, not
            UTF-8, a line too long, or no prompt in it; the message names the line. Nothing is
            submitted then.
    """
    with _opened(source, stdin, max_bytes) as file:
        label = "standard input" if source == "-" else source
        file.seek(0)
        require_prompt_lines(source, file.read(HEAD_BYTES))
        digest = _digest(file)
        count = sum(1 for _ in _lines(file, label))
        if count == 0:
            raise RequestError(f"{label} holds no prompt", "write one a line; # begins a comment")
        yield PromptFile(file, label, digest, count)


@contextmanager
def _opened(source: str, stdin: IO[bytes], max_bytes: int) -> Iterator[IO[bytes]]:
    if source == "-":
        # The input is read twice, and may be larger than memory.
        with tempfile.SpooledTemporaryFile(max_size=1_000_000) as spool:
            _copy(stdin, spool, max_bytes)
            yield spool
        return
    path = Path(source)
    if path.is_dir():
        raise RequestError(f"{source} is a folder", "name a text file with one prompt a line")
    if path.is_char_device():
        raise RequestError(f"{source} is a device", "name a text file with one prompt a line")
    try:
        file = path.open("rb")
    except OSError as error:
        raise RequestError(f"cannot read {source}: {error.strerror}", "check the path") from error
    with file:
        if not file.seekable():
            raise RequestError(
                f"{source} cannot be read twice", f"use: imagen batch - --name NAME < {source}"
            )
        if os.fstat(file.fileno()).st_size > max_bytes:
            raise _too_large(source, max_bytes)
        yield file


def _copy(stdin: IO[bytes], spool: IO[bytes], max_bytes: int) -> None:
    size_bytes = 0
    while block := _read_block(stdin):
        size_bytes += len(block)
        if size_bytes > max_bytes:
            raise _too_large("standard input", max_bytes)
        spool.write(block)


def _read_block(stdin: IO[bytes]) -> bytes:
    try:
        return stdin.read(_BLOCK_BYTES)
    except OSError as error:
        raise unreadable_stdin(error) from error


def _too_large(label: str, max_bytes: int) -> RequestError:
    return RequestError(
        f"{label} is larger than {max_bytes / 2**20:,.0f} MiB, the most that a batch reads",
        "divide it, for example: split -n l/4 prompts.txt part-",
    )


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(1 << 16):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()


def _lines(file: IO[bytes], label: str) -> Iterator[PromptLine]:
    # Room for white space around a prompt; a longer line is refused without reading it.
    most = 2 * MAX_PROMPT_BYTES
    position = number = 0
    while raw := file.readline(most + 1):
        number += 1
        if b"\r" in raw.rstrip(b"\r\n"):
            raise _carriage_return(label, number)
        if len(raw) > most:
            raise RequestError(
                f"{label}:{number}: the line is longer than {MAX_PROMPT_BYTES:,} bytes",
                "one prompt a line",
            )
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise RequestError(
                f"{label}:{number}: not UTF-8 (byte {error.start + 1} of the line)",
                f"convert it: iconv -t utf-8 {label}",
            ) from None
        if not text or text.startswith("#"):
            continue
        if len(text.encode()) > MAX_PROMPT_BYTES:
            raise RequestError(
                f"{label}:{number}: the prompt is longer than {MAX_PROMPT_BYTES:,} bytes",
                "shorten it",
            )
        if not text.replace("\x00", "").strip():
            raise RequestError(f"{label}:{number}: the prompt is blank", "remove the line")
        position += 1
        yield PromptLine(number, position, text)


def _carriage_return(label: str, number: int) -> RequestError:
    """The error for lines that end as on old Macs: the whole file would be one prompt."""
    file = "FILE" if label == "standard input" else shlex.quote(label)
    return RequestError(
        f"{label}:{number}: the line holds a carriage return, which ends no line",
        f"convert it: tr '\\r' '\\n' < {file} > prompts.txt",
    )
