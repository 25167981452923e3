"""Tells whether a file with the wanted name was written by an earlier delivery of the same job."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import UUID

from imagen.images.verify import MAX_IMAGE_BYTES
from imagen.output import metadata

# The largest image and what may be embedded in it; imagen writes no larger file.
_MAX_FILE_BYTES = MAX_IMAGE_BYTES + 16 * 1024 * 1024


def is_file_of_job(path: Path, *, job_id: UUID | str, sha256: str) -> bool:
    """Whether an image or a sidecar at ``path`` carries this job's id, or has this sha256 (hex).

    False where the file does not exist or cannot be read. ``sha256`` may be "".
    """
    try:
        if not path.is_file() or path.stat().st_size > _MAX_FILE_BYTES:
            return False
        data = path.read_bytes()
    except OSError:
        return False
    if sha256 and hashlib.sha256(data).hexdigest() == sha256:
        return True
    record = _read_sidecar(data) if path.suffix == ".json" else metadata.read(data)
    return record is not None and record.get("job_id") == str(job_id)


def _read_sidecar(data: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
