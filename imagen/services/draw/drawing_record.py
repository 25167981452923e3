"""Makes the record of an attempt that drew: real size, what was sent, warnings, whole time."""

from __future__ import annotations

from imagen.domain.drawing_record import DrawingRecord, requested_of
from imagen.domain.drawn import Drawn
from imagen.domain.job import AttemptState, Claim, Job
from imagen.domain.size import Size


def record_drawing(job: Job, drawn: Drawn) -> DrawingRecord:
    """The record of ``drawn``; the bytes are not trusted, and need not be an image."""
    requested = job.requested or requested_of(job.request)
    return DrawingRecord.of(requested, job.request, drawn, size=_size_of(drawn.data))


def spent_before_s(claim: Claim) -> float:
    """Seconds that a resumed attempt has taken already, in whichever workers' hands.

    By the ledger's clock, from when the attempt was announced or submitted.
    """
    attempt = claim.attempt
    if attempt.latency_ms is not None:
        # It was drawn before and its bytes were lost: the time since then was not spent on it.
        return attempt.latency_ms / 1000
    if not claim.resumed or attempt.state is AttemptState.STARTED:
        return 0.0
    return attempt.begun_age_s or 0.0


def _size_of(data: bytes) -> Size | None:
    # Brings Pillow, which a process that only submits has no use for.
    from imagen.images.verify import BrokenImage, read_header  # noqa: PLC0415

    try:
        header = read_header(data)
    except BrokenImage:
        # Delivery looks at it again, and says so.
        return None
    return Size(header.width, header.height)
