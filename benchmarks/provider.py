"""The fake servers as processes of their own: none of our threads slows them down."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from benchmarks.bench import REPOSITORY

_TIMEOUT_S = 10.0


@contextmanager
def fake_replicate(*options: str) -> Iterator[dict[str, str]]:
    """``base_url`` and ``download_hosts`` of a running ``tests.fakes.replicate``."""
    with _serving("tests.fakes.replicate", *options) as process:
        yield dict(_line(process).split(" ", 1) for _ in range(2))


@contextmanager
def fake_comfyui(*options: str) -> Iterator[str]:
    """The url of a running ``tests.fakes.comfyui``."""
    with _serving("tests.fakes.comfyui", "--port", "0", *options) as process:
        yield _line(process)


def stats_of(url: str) -> dict[str, Any]:
    """What the fake tells of itself."""
    answer = requests.get(f"{url}/_fake/stats", timeout=_TIMEOUT_S)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


@contextmanager
def _serving(module: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", module, *options], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError("a fake server ended before it served")
    return line
