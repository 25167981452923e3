"""Finishes the images of a drain in groups of bounded size, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from uuid import UUID

from imagen.domain.job import Claim
from imagen.ledger.jobs.artifacts import Artifact, artifact_sizes, load_artifacts
from imagen.ledger.store.engine import Ledger
from imagen.services.deliver.finished_image import FinishedImage

#: How many bytes of finished images are in memory at once, and about one more image.
MOST_BYTES = 64_000_000
#: How many bytes of artifacts are read at once: a database driver holds them twice.
READ_BYTES = 8_000_000


def finished_groups(
    ledger: Ledger,
    claims: Sequence[Claim],
    finish: Callable[[Claim, Artifact | None], FinishedImage | None],
    *,
    most_bytes: int = MOST_BYTES,
) -> Iterator[list[FinishedImage]]:
    """What ``finish`` makes of each claim's artifact, in order, a group at a time.

    Write a group, and drop its bytes, before asking for the next one. A claim for which ``finish``
    returns None is left out.
    """
    group: list[FinishedImage] = []
    for some in _in_chunks(claims, artifact_sizes(ledger, _ids(claims))):
        artifacts = load_artifacts(ledger, _ids(some))
        for claim in some:
            image = finish(claim, artifacts.pop(claim.job.id, None))
            if image is not None:
                group.append(image)
            if sum(image.size_bytes for image in group) >= most_bytes:
                yield group
                group = []
    if group:
        yield group


def _ids(claims: Sequence[Claim]) -> list[UUID]:
    return [claim.job.id for claim in claims]


def _in_chunks(claims: Sequence[Claim], sizes: Mapping[UUID, int]) -> Iterator[list[Claim]]:
    """The claims in order, as many at a time as have together few enough bytes to be read."""
    chunk: list[Claim] = []
    left_bytes = READ_BYTES
    for claim in claims:
        size_bytes = sizes.get(claim.job.id, 0)
        if chunk and size_bytes > left_bytes:
            yield chunk
            chunk, left_bytes = [], READ_BYTES
        chunk.append(claim)
        left_bytes -= size_bytes
    if chunk:
        yield chunk
