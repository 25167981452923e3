"""The fake's output and temporary folders, kept in memory; they outlive a restart."""

from __future__ import annotations

import re
import threading

Key = tuple[str, str, str]


class Disk:
    """Files by (type, subfolder, filename)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[Key, bytes] = {}

    def save(self, prefix: str, data: bytes) -> dict[str, str]:
        """Write under the next free number; the triple that ``/view`` takes.

        The number is the highest present plus one, so a deleted name is given again, as the
        real one does (observed on ComfyUI 0.3.64).
        """
        subfolder, _, name = prefix.rpartition("/")
        pattern = re.compile(re.escape(name) + r"_(\d{5})_\.png")
        with self._lock:
            numbers = [
                int(match[1])
                for kind, folder, filename in self._files
                if kind == "output"
                and folder == subfolder
                and (match := pattern.fullmatch(filename))
            ]
            filename = f"{name}_{max(numbers, default=0) + 1:05}_.png"
            self._files["output", subfolder, filename] = data
        return {"filename": filename, "subfolder": subfolder, "type": "output"}

    def read(self, kind: str, subfolder: str, filename: str) -> bytes | None:
        with self._lock:
            return self._files.get((kind, subfolder, filename))

    def names(self) -> list[str]:
        """Paths under the output folder."""
        with self._lock:
            return sorted(
                f"{folder}/{name}".lstrip("/")
                for kind, folder, name in self._files
                if kind == "output"
            )

    def delete_all(self) -> None:
        """As a cron job that tidies the output folder would."""
        with self._lock:
            self._files.clear()
