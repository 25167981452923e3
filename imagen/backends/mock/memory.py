"""What the mock backend remembers as a server would: tries of a job, and work it has taken on."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from pathlib import Path
from uuid import UUID

from imagen.domain.request import ImageRequest
from imagen.errors import BackendUnavailable


class TryCounter:
    """How often each job was tried: in ``state_dir`` where there is one, else in memory."""

    def __init__(self, state_dir: Path | None) -> None:
        self._state_dir = state_dir
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def count(self, request: ImageRequest) -> int:
        """The number of this try, from 1. Jobs are told apart by their prompt and seed."""
        key = hashlib.sha256(f"{request.seed}\n{request.prompt}".encode()).hexdigest()[:32]
        if self._state_dir is None:
            with self._lock:
                self._counts[key] += 1
                return self._counts[key]
        try:
            self._state_dir.mkdir(parents=True, exist_ok=True)
            return _append(self._state_dir / key, b".")
        except OSError as exc:
            raise _cannot_write(self._state_dir, "state_dir", exc) from exc


class CallLog:
    """The drawings that were begun: a provider's list, in ``calls_log`` where there is one."""

    def __init__(self, calls_log: Path | None) -> None:
        self._calls_log = calls_log
        self._lock = threading.Lock()
        self._attempts: set[UUID] = set()

    def add(self, attempt_id: UUID, seed: int, *, remember: bool) -> None:
        """Note one drawing; ``remember`` where somebody may ask for it again."""
        if remember:
            with self._lock:
                self._attempts.add(attempt_id)
        if self._calls_log is None:
            return
        try:
            self._calls_log.parent.mkdir(parents=True, exist_ok=True)
            _append(self._calls_log, f"{attempt_id}\t{seed}\n".encode())
        except OSError as exc:
            raise _cannot_write(self._calls_log, "calls_log", exc) from exc

    def has(self, attempt_id: UUID) -> bool:
        """Whether a drawing was begun for this attempt, here or by a process before this one."""
        with self._lock:
            if attempt_id in self._attempts:
                return True
        if self._calls_log is None or not self._calls_log.exists():
            return False
        prefix = f"{attempt_id}\t"
        with self._calls_log.open(encoding="utf-8") as lines:
            return any(line.startswith(prefix) for line in lines)


def _append(path: Path, data: bytes) -> int:
    """Add ``data`` in one piece, whoever else is adding; the file's size is what you get."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, data)
        return os.fstat(handle).st_size
    finally:
        os.close(handle)


def _cannot_write(path: Path, setting: str, exc: OSError) -> BackendUnavailable:
    return BackendUnavailable(
        f"the mock backend cannot write to {path}: {exc.strerror}",
        f"change its setting {setting!r}",
    )
