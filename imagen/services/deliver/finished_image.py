"""One image made ready for its file: verified, in the asked format, with its metadata and name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from imagen.domain.cost import Cost
from imagen.domain.job import Claim, record_of
from imagen.domain.request import EXT_BY_FORMAT
from imagen.errors import DeliveryError
from imagen.images.convert import convert_image
from imagen.images.verify import ImageFormat, ImageInfo, inspect_image
from imagen.ledger.jobs.artifacts import Artifact
from imagen.output.metadata import Mode, embed
from imagen.output.naming import numbered
from imagen.output.ours import is_our_file
from imagen.output.paths import check_target
from imagen.output.provenance import Provenance
from imagen.output.sidecar import build_sidecar, sidecar_name

#: How many names are tried beside each other before giving up.
_MAX_NUMBER = 1_000_000

#: The last number that a name in a folder was given.
Numbers = dict[tuple[str, str], int]


@dataclass
class Parcel:
    """The final bytes of a job, a pure function of its row and artifact, and where they go."""

    claim: Claim
    artifact_key: str
    provenance: Provenance
    info: ImageInfo
    #: Dropped once it is written: a drain must not keep 64 images in memory.
    image: bytes
    size_bytes: int
    sha256: str
    target: Path = Path()
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


def pack(claim: Claim, artifact: Artifact) -> Parcel:
    """Verify the bytes, bring them into the asked format and embed what the image should know.

    Raises:
        BrokenImage: the bytes are not one whole image of bounded size.
    """
    data = convert_image(artifact.data, cast("ImageFormat", claim.job.request.format))
    info = inspect_image(data)
    provenance = _provenance(claim, info)
    mode = cast("Mode", claim.job.output.metadata)
    image = embed(data, info, provenance.record, mode=mode, origin=artifact.data)
    sha256 = hashlib.sha256(image).hexdigest()
    return Parcel(claim, artifact.key, provenance, info, image, len(image), sha256)


def _provenance(claim: Claim, info: ImageInfo) -> Provenance:
    attempt = claim.attempt
    return Provenance(
        job=claim.job,
        attempt_id=attempt.id,
        # The size is the image's own: an older version's record knows the asked one alone.
        drawing=replace(record_of(claim.job, attempt), width=info.width, height=info.height),
        format=info.format,
        cost=Cost(attempt.cost_usd, attempt.cost_source or "unknown"),
        details=attempt.details,
        finished_at=attempt.finished_at,
        latency_ms=attempt.latency_ms,
    )


def pick_target(
    parcel: Parcel,
    allowed_dirs: Sequence[Path] | None,
    *,
    taken: set[Path],
    above: int = 0,
    numbers: Numbers | None = None,
) -> Path:
    """Where to write: the committed path of an earlier try, or the first free name.

    ``numbers`` remembers where the search for a name ended last: a thousand images of one name
    need not look at a thousand names each.

    Raises:
        DeliveryError: the path is not allowed or cannot be looked at, or every name is taken.
    """
    output = parcel.claim.job.output
    if parcel.claim.job.output_path is not None and above == 0:
        earlier = Path(parcel.claim.job.output_path)
        if output.replace or _is_free(parcel, earlier, taken):
            return check_target(earlier, allowed_dirs=allowed_dirs)
    if output.replace:
        return check_target(Path(output.folder, output.name), allowed_dirs=allowed_dirs)
    name = output.name.replace("{ext}", EXT_BY_FORMAT[parcel.info.format])
    known = {} if numbers is None else numbers
    start = max(above, known.get((output.folder, name), 0))
    for number in range(start + 1, _MAX_NUMBER):
        path = Path(output.folder, name if number == 1 else numbered(name, number))
        if _is_free(parcel, path, taken):
            parcel.number = number
            if number > 1:
                known[output.folder, name] = number
            return check_target(path, allowed_dirs=allowed_dirs)
    raise DeliveryError(f"no free name beside {name} in {output.folder}", "clear the folder")


def sidecar_path(image: Path) -> Path:
    """Where the sidecar of an image file stands."""
    return image.with_name(sidecar_name(image.name))


def is_ours(parcel: Parcel, path: Path) -> bool:
    """Whether an existing file is an earlier try of this very job."""
    return is_our_file(path, job_id=parcel.claim.job.id, sha256=parcel.sha256)


def _is_free(parcel: Parcel, path: Path, taken: set[Path]) -> bool:
    if path in taken:
        return False
    try:
        if path.exists() or path.is_symlink():
            return is_ours(parcel, path)
        sidecar = sidecar_path(path)
        return not sidecar.exists() or is_ours(parcel, sidecar)
    except OSError as error:
        # A folder that may not be entered, a name that is too long.
        raise DeliveryError(
            f"cannot look for {path}: {error.strerror}", "let this user enter the folder"
        ) from error
