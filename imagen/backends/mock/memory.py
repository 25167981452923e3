"""What the mock backend records as a server would: tries of a job, and drawings it has begun."""

from __future__ import annotations

import hashlib
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
        if self._state_dir is not None:
            return _append(self._state_dir / key, b".", setting="state_dir")
        with self._lock:
            self._counts[key] += 1
            return self._counts[key]


class CallLog:
    """The drawings that were begun, as a provider lists them: in ``calls_log`` if there is one."""

    def __init__(self, calls_log: Path | None) -> None:
        self._calls_log = calls_log
        self._lock = threading.Lock()
        self._attempts: set[UUID] = set()

    def add(self, attempt_id: UUID, seed: int, *, remember: bool) -> None:
        """Record one drawing; ``remember`` where ``has`` may be asked for it."""
        if remember:
            with self._lock:
                self._attempts.add(attempt_id)
        if self._calls_log is not None:
            _append(self._calls_log, f"{attempt_id}\t{seed}\n".encode(), setting="calls_log")

    def has(self, attempt_id: UUID) -> bool:
        """Whether a drawing was begun for this attempt, here or by an earlier process."""
        with self._lock:
            if attempt_id in self._attempts:
                return True
        if self._calls_log is None or not self._calls_log.exists():
            return False
        prefix = f"{attempt_id}\t"
        with self._calls_log.open(encoding="utf-8") as lines:
            return any(line.startswith(prefix) for line in lines)


def _append(path: Path, data: bytes, *, setting: str) -> int:
    """Append ``data`` in one write, which other processes may do as well; the file's new size.

    Raises:
        BackendUnavailable: it cannot be written; names the setting.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            file.write(data)
            return file.tell()
    except OSError as exc:
        raise BackendUnavailable(
            f"the mock backend cannot write to {path}: {exc.strerror}",
            f"change its setting {setting!r}",
        ) from exc
