"""A file of ours is known by its job or by its bytes, so a repeated delivery makes no second."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from imagen.images.verify import inspect_image
from imagen.output import metadata
from imagen.output.file_of_job import is_file_of_job
from imagen.output.metadata import Mode
from imagen.output.provenance import Provenance
from imagen.output.sidecar import build_sidecar

JOB_ID = UUID("019a0000-0000-7000-8000-000000000001")


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("mode", ["full", "safe"])
def test_an_image_is_known_by_its_job(
    tmp_path: Path,
    make_image: Callable[..., bytes],
    make_provenance: Callable[..., Provenance],
    image_format: str,
    mode: Mode,
) -> None:
    data = make_image(image_format)
    path = tmp_path / "fox.png"
    path.write_bytes(metadata.embed(data, inspect_image(data), make_provenance().record, mode=mode))

    assert is_file_of_job(path, job_id=JOB_ID, sha256="")
    assert not is_file_of_job(path, job_id=uuid4(), sha256="")


def test_an_image_that_says_nothing_is_known_by_its_bytes(
    tmp_path: Path, make_image: Callable[..., bytes]
) -> None:
    data = make_image("png")
    path = tmp_path / "fox.png"
    path.write_bytes(data)

    assert is_file_of_job(path, job_id=JOB_ID, sha256=hashlib.sha256(data).hexdigest())
    assert not is_file_of_job(path, job_id=JOB_ID, sha256=hashlib.sha256(b"").hexdigest())


def test_a_sidecar_is_known_by_its_job(
    tmp_path: Path, make_provenance: Callable[..., Provenance]
) -> None:
    path = tmp_path / "fox.png.json"
    path.write_bytes(
        build_sidecar(make_provenance(), file_name="fox.png", sha256="0", size_bytes=1)
    )

    assert is_file_of_job(path, job_id=JOB_ID, sha256="")
    assert not is_file_of_job(path, job_id=uuid4(), sha256="")


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b'{"job_id": 7}', b"[" * 100_000])
@pytest.mark.parametrize("name", ["fox.png", "fox.png.json"])
def test_somebody_else_s_file_is_not_ours(tmp_path: Path, name: str, content: Any) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    assert not is_file_of_job(path, job_id=JOB_ID, sha256="")


def test_nothing_and_folders_are_not_ours(tmp_path: Path) -> None:
    assert not is_file_of_job(tmp_path / "nothing.png", job_id=JOB_ID, sha256="")
    assert not is_file_of_job(tmp_path, job_id=JOB_ID, sha256="")
