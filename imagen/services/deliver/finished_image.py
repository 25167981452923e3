"""One image made ready for its file: verified, in the requested format, with its metadata."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from imagen.domain.cost import Cost
from imagen.domain.job import Claim, record_of
from imagen.images.convert import convert_image
from imagen.images.verify import ImageFormat, ImageInfo, inspect_image
from imagen.ledger.jobs.artifacts import Artifact
from imagen.output.metadata import Mode, embed
from imagen.output.provenance import Provenance
from imagen.output.sidecar import build_sidecar


@dataclass
class FinishedImage:
    """The final bytes of a job, a pure function of its row and artifact, and where they go."""

    claim: Claim
    artifact_key: str
    provenance: Provenance
    info: ImageInfo
    #: Dropped once it is written: a drain must not keep 64 images in memory.
    data: bytes
    size_bytes: int
    sha256: str
    target: Path = Path()
    #: The number in the target's name; 1 is the name without one.
    number: int = 1
    image_temp: Path | None = None
    sidecar_temp: Path | None = None

    @property
    def temps(self) -> list[Path]:
        return [temp for temp in (self.image_temp, self.sidecar_temp) if temp is not None]

    def sidecar(self) -> bytes:
        """The sidecar's content, which names the image file."""
        return build_sidecar(
            self.provenance,
            file_name=self.target.name,
            sha256=self.sha256,
            size_bytes=self.size_bytes,
        )


def finish_image(claim: Claim, artifact: Artifact) -> FinishedImage:
    """Verify the bytes, convert them into the requested format and embed their metadata.

    Raises:
        BrokenImage: the bytes are not one whole image of bounded size.
    """
    data = convert_image(artifact.data, cast("ImageFormat", claim.job.request.format))
    info = inspect_image(data)
    provenance = _provenance(claim, info)
    mode = cast("Mode", claim.job.output.metadata)
    image = embed(data, info, provenance.record, mode=mode, origin=artifact.data)
    sha256 = hashlib.sha256(image).hexdigest()
    return FinishedImage(claim, artifact.key, provenance, info, image, len(image), sha256)


def _provenance(claim: Claim, info: ImageInfo) -> Provenance:
    attempt = claim.attempt
    return Provenance(
        job=claim.job,
        attempt_id=attempt.id,
        # The size is the image's own: an older version's record knows the requested one alone.
        drawing=replace(record_of(claim.job, attempt), width=info.width, height=info.height),
        format=info.format,
        cost=Cost(attempt.cost_usd, attempt.cost_source or "unknown"),
        details=attempt.details,
        finished_at=attempt.finished_at,
        latency_ms=attempt.latency_ms,
    )
