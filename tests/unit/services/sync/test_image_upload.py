"""The copy for the cloud is the very file that was delivered, wherever its bytes are found."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from imagen.domain.job import Output
from imagen.domain.prompt import hash_prompt
from imagen.domain.request import ImageRequest
from imagen.errors import ArtifactLost
from imagen.services.sync.image_upload import make_image_copy

OWNER = "6f9619ff-8b86-4011-b42d-00c04fc964ff"


def _request(*, prompt: str = "a red fox", image_format: str = "png") -> ImageRequest:
    return ImageRequest(prompt, prompt, 64, 64, 7, format=image_format)


@pytest.fixture
def delivered(sqlite_studio: Any) -> Any:
    """A delivered job: (studio, job, attempt); its artifact is gone."""

    def deliver(**changes: Any) -> tuple[Any, Any, Any]:
        job_id = sqlite_studio.desk.generated(owner_user_id=OWNER, **changes)
        sqlite_studio.deliver()
        [attempt] = sqlite_studio.desk.attempts(job_id)
        return sqlite_studio, sqlite_studio.desk.job(job_id), attempt

    return deliver


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("metadata", ["full", "safe", "none"])
def test_the_copy_is_the_file_to_the_byte(
    delivered: Any, tmp_path: Path, image_format: str, metadata: str
) -> None:
    output = Output(str(tmp_path / "out"), "fox.{ext}", metadata=metadata)
    studio, job, attempt = delivered(output=output, request=_request(image_format=image_format))

    copy = make_image_copy(studio.desk.ledger, job, attempt)

    assert copy.image == Path(job.output_path).read_bytes()
    assert hashlib.sha256(copy.image).hexdigest() == job.file_sha256
    assert copy.mime == f"image/{image_format}"
    assert copy.sidecar == studio.sidecar(f"{Path(job.output_path).name}.json")


def test_the_row_holds_what_is_asked_for_later(delivered: Any) -> None:
    studio, job, attempt = delivered()

    row = make_image_copy(studio.desk.ledger, job, attempt).row("a/b.png")

    assert row["id"] == row["job_id"] == job.id
    assert str(row["owner_user_id"]) == OWNER
    assert (row["storage_path"], row["prompt"]) == ("a/b.png", "a red fox")
    assert row["prompt_hash"] == hash_prompt("a red fox")
    assert (row["width"], row["height"], row["seed"], row["steps"]) == (64, 64, 7, 4)
    assert (row["latency_ms"], row["cost_usd_estimate"]) == (12, Decimal(0))
    assert row["created_at"] == attempt.finished_at
    assert "tags" not in row


def test_the_slug_is_ascii_whatever_the_prompt(delivered: Any) -> None:
    studio, job, attempt = delivered(request=_request(prompt="Größe 猫"))

    assert make_image_copy(studio.desk.ledger, job, attempt).slug.isascii()


def test_a_file_that_is_gone_says_where_it_was_and_where_to_sync(delivered: Any) -> None:
    studio, job, attempt = delivered()
    Path(job.output_path).unlink()

    with pytest.raises(ArtifactLost, match=r"fox\.png.*run imagen sync on here"):
        make_image_copy(studio.desk.ledger, job, attempt)


def test_a_file_that_was_changed_is_not_sent(delivered: Any) -> None:
    studio, job, attempt = delivered()
    path = Path(job.output_path)
    path.write_bytes(path.read_bytes() + b"!")

    with pytest.raises(ArtifactLost, match="not the image that was delivered"):
        make_image_copy(studio.desk.ledger, job, attempt)
