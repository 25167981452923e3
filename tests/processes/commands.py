"""Runs imagen's commands and programs as processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def start_imagen(
    *words: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    preexec_fn: Callable[[], None] | None = None,
) -> subprocess.Popen[str]:
    """``imagen …``, with pipes for both streams; without ``env`` it has ours."""
    return subprocess.Popen(
        [sys.executable, "-m", "imagen", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=env,
        preexec_fn=preexec_fn,
    )


def run_imagen(
    *words: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    preexec_fn: Callable[[], None] | None = None,
    timeout_s: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """The same, waited for."""
    with start_imagen(*words, cwd=cwd, env=env, preexec_fn=preexec_fn) as process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


@contextmanager
def running(*words: str, log: Path, cwd: Path, env: Mapping[str, str]) -> Iterator[None]:
    """``python -m …`` until the block ends, its output in ``log``."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=env,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)
