"""The sink of the outbox for images: the same bytes as the file, and a row that names them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from imagen.cloud.keys import object_key
from imagen.cloud.rest import RestClient
from imagen.cloud.storage import Storage
from imagen.domain.job import Attempt, Claim, Job, record_of
from imagen.domain.prompt import hash_prompt
from imagen.domain.request import EXT_BY_FORMAT
from imagen.errors import ArtifactLost, CloudError
from imagen.ledger.jobs.artifacts import Artifact, load_artifacts
from imagen.ledger.outbox.outbox import OutboxItem
from imagen.ledger.store.engine import Ledger
from imagen.output.naming import slugify
from imagen.services.deliver.finished_image import finish_image

IMAGES_SCHEMA, IMAGES_TABLE = "imagen", "images"
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


@dataclass(frozen=True)
class ImageUploads:
    """Uploads images: first the object, then its row, so that a row always has its object."""

    ledger: Ledger
    storage: Storage
    #: Writes the row of ``imagen.images``.
    put_row: Callable[[Mapping[str, Any]], None]
    #: The owner of images whose jobs were submitted without one.
    owner_user_id: str = ""

    def send(self, item: OutboxItem) -> None:
        job = item.job
        if not job.owner_user_id:
            job = replace(job, owner_user_id=self._owner_here())
        copy = make_image_copy(self.ledger, job, item.attempt)
        key = object_key(job.owner_user_id, job.id, copy.slug, copy.ext)
        self.storage.ensure_bucket()
        self.storage.upload(key, copy.image, copy.mime)
        self.put_row(copy.row(key))

    def _owner_here(self) -> str:
        if not self.owner_user_id:
            raise CloudError(
                "it has no owner",
                "set owner_user_id in the configuration to your user id in the Supabase project",
                False,
                True,
            )
        return self.owner_user_id


def image_rows_over(rest: RestClient) -> Callable[[Mapping[str, Any]], None]:
    """Writes image rows over REST; the same job again replaces its row."""

    def put(row: Mapping[str, Any]) -> None:
        rest.insert(IMAGES_SCHEMA, IMAGES_TABLE, row, on_conflict="id", merge=True)

    return put


def require_images_table(rest: RestClient) -> None:
    """Check that the table of images is there.

    Raises:
        CloudError: it cannot be reached with this key.
    """
    rest.missing_columns(IMAGES_SCHEMA, IMAGES_TABLE, ("id",))
