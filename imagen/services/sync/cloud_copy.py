"""The copy of an image that is uploaded: the same bytes as its file, and its row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from imagen.domain.job import Attempt, Claim, Job, record_of
from imagen.domain.prompt import hash_prompt
from imagen.domain.request import EXT_BY_FORMAT
from imagen.errors import ArtifactLost
from imagen.ledger.jobs.artifacts import Artifact, load_artifacts
from imagen.ledger.store.engine import Ledger
from imagen.output.naming import slugify
from imagen.services.deliver.finished_image import finish_image

MIME_BY_FORMAT: Mapping[str, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
}


@dataclass(frozen=True, slots=True)
class ImageCopy:
    """An image as it is uploaded.

    ``sidecar`` is the whole sidecar, also where none was written beside the file.
    """

    job: Job
    attempt: Attempt
    image: bytes
    format: str
    width: int
    height: int
    sidecar: Mapping[str, Any]

    @property
    def ext(self) -> str:
        return EXT_BY_FORMAT[self.format]

    @property
    def mime(self) -> str:
        return MIME_BY_FORMAT[self.format]

    @property
    def slug(self) -> str:
        return slugify(self.job.request.prompt)

    def row(self, storage_path: str) -> dict[str, Any]:
        """The row of ``imagen.images``; its id is the job's, so sending it twice gives one row."""
        request, attempt = self.job.request, self.attempt
        record = record_of(self.job, attempt)
        return {
            "id": self.job.id,
            "owner_user_id": UUID(self.job.owner_user_id),
            "job_id": self.job.id,
            "storage_path": storage_path,
            "prompt": request.prompt,
            "prompt_hash": hash_prompt(request.prompt),
            "backend": attempt.backend,
            "model": record.model,
            "seed": record.seed,
            "steps": record.steps,
            "width": self.width,
            "height": self.height,
            "latency_ms": attempt.latency_ms,
            "cost_usd_estimate": attempt.cost_usd,
            "sidecar": dict(self.sidecar),
            "created_at": attempt.finished_at or self.job.created_at,
        }


def make_image_copy(ledger: Ledger, job: Job, attempt: Attempt) -> ImageCopy:
    """The copy of a delivered job, from its kept artifact or else from its file.

    Raises:
        ArtifactLost: neither can be seen from here, or the file was changed.
    """
    artifact = load_artifacts(ledger, [job.id]).get(job.id) or _from_file(job)
    # Packing a finished file again gives the same bytes.
    finished = finish_image(Claim(job, attempt, owner=""), artifact)
    finished.target = Path(job.output_path or "")
    return ImageCopy(
        job=job,
        attempt=attempt,
        image=finished.data,
        format=finished.info.format,
        width=finished.info.width,
        height=finished.info.height,
        sidecar=json.loads(finished.sidecar()),
    )


def _from_file(job: Job) -> Artifact:
    path = job.output_path or ""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ArtifactLost(
            f"the image of job {job.id} cannot be read at {path!r} from this host",
            f"run imagen sync on {job.delivery_host}, or put the file back",
        ) from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != job.file_sha256:
        raise ArtifactLost(
            f"the file {path} of job {job.id} is not the image that was delivered",
            "put the original back",
        )
    return Artifact("", job.id, data, sha256)
