"""The least that draws and keeps: the mock's image, a sidecar, both synced; no ledger, no queue."""

from __future__ import annotations

import json
import os
from pathlib import Path

from imagen.backends.mock.drawing import draw_request
from imagen.domain.request import ImageRequest


def draw_all(folder: Path, number: int) -> None:
    """Draw so many images into ``folder``, one after the other."""
    for i in range(number):
        prompt = f"a lighthouse on a cliff above a stormy sea at dawn, view {i}"
        request = ImageRequest(prompt, prompt, 64, 64, i + 1)
        _write(folder / f"{i}.png", draw_request(request))
        _write(folder / f"{i}.png.json", json.dumps(request.to_json()).encode())


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
