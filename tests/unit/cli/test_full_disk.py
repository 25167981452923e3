"""What a command says and does while the disk of its images is full."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from imagen.services.deliver import full_disks


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """How many more writes below the output folder find no space: set its one number."""
    left = [10**6]
    write = os.write

    def write_or_refuse(handle: int, data: Any) -> int:
        if left[0] and os.readlink(f"/proc/self/fd/{handle}").startswith(str(tmp_path / "pics")):
            left[0] -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data)

    monkeypatch.setattr(os, "write", write_or_refuse)
    monkeypatch.setattr(full_disks, "_WAITS_S", (0.2,))
    return left


def test_a_batch_waits_for_space_and_says_so_once(
    imagen: Any, refused: list[int], tmp_path: Path
) -> None:
    refused[0] = 7
    (tmp_path / "prompts.txt").write_text("a fox\na hen\na cat\n")

    done = imagen(
        *("batch", "prompts.txt", "--backend", "mock", "--size", "64x64"),
        *("--output-dir", "pics"),
    )

    assert done.code == 0
    assert done.err.count("No space left on device") == 1
    assert "retrying in" in done.err
    assert len(list((tmp_path / "pics").glob("*.png"))) == 3


@pytest.mark.usefixtures("refused")
def test_after_the_patience_a_full_disk_fails_the_command_which_says_how_to_go_on(
    imagen: Any, configure: Any, refused: list[int], tmp_path: Path
) -> None:
    configure("results: {disk_patience_s: 0.5}\noutput: {dir: pics}\n")

    failed = imagen("generate", "a fox", "--backend", "mock", "--size", "64x64", "--json")
    refused[0] = 0
    job_id = failed.json["id"]
    again = imagen("jobs", "retry", job_id)

    assert failed.code == 1
    assert failed.json["error"]["code"] == "disk_full"
    assert f"imagen jobs retry {job_id}" in failed.json["error"]["hint"]
    assert again.code == 0
    assert len(list((tmp_path / "pics").glob("*.png"))) == 1
