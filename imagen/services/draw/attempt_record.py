"""What goes on record of an attempt: what was drawn, or what was paid for without an image."""

from __future__ import annotations

from dataclasses import replace

from imagen.domain.cost import Bill
from imagen.domain.drawing_record import DrawingRecord, requested_of
from imagen.domain.drawn import Drawn
from imagen.domain.job import Claim, Job
from imagen.domain.protocols import Backend
from imagen.domain.size import Size
from imagen.errors import BackendRejected, ImagenError, JobCanceled, OutcomeUnknown
from imagen.ledger.jobs.fenced_writes import Paid
from imagen.services.draw.ledger_run import LedgerRun


def record_drawing(job: Job, drawn: Drawn) -> DrawingRecord:
    """The record of ``drawn``; the bytes are not trusted, and need not be an image."""
    requested = job.requested or requested_of(job.request)
    return DrawingRecord.of(requested, job.request, drawn, size=_size_of(drawn.data))


def _size_of(data: bytes) -> Size | None:
    # Brings Pillow, which a process that only submits has no use for.
    from imagen.images.verify import BrokenImage, read_header  # noqa: PLC0415

    try:
        header = read_header(data)
    except BrokenImage:
        # Delivery looks at it again, and says so.
        return None
    return Size(header.width, header.height)


def paid_for(
    claim: Claim, backend: Backend, bill: Bill | None, *, latency_ms: int | None, also_send: bool
) -> Paid | None:
    """What a bill puts on record; None where there is none, or drawing costs nothing.

    A bill without an amount is taken at the backend's usual price.
    """
    if bill is None or backend.repeat_is_free:
        return None
    if bill.cost.usd is None:
        bill = replace(bill, cost=backend.estimate(claim.job.request))
    return Paid(bill, latency_ms, is_metered=backend.is_metered, also_send=also_send)


def tell_cancel(error: JobCanceled, paid: Paid | None) -> JobCanceled:
    """The cancel, which says so where it came too late to save its price."""
    if paid is None:
        return error
    return JobCanceled(f"{error.message}; its image had been drawn, and is paid for", error.hint)


def meaning_of_bug(error: Exception, claim: Claim, backend: Backend, run: LedgerRun) -> ImagenError:
    """What an exception means that no adapter should raise: after a paid call, that may be much."""
    what = f"backend {claim.job.backend!r} failed with {type(error).__name__}, a bug in its adapter"
    is_paid = run.has_intended or run.is_unsettled or run.external_id or claim.attempt.external_id
    if backend.repeat_is_free or not is_paid:
        return BackendRejected(what)
    return OutcomeUnknown(f"{what}, after a call that may be paid for")
