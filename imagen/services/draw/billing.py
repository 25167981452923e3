"""What goes on record of an attempt that cost something and ends without its image."""

from __future__ import annotations

from dataclasses import replace

from imagen.domain.cost import Bill
from imagen.domain.job import Claim
from imagen.domain.protocols import Backend
from imagen.errors import BackendRejected, ImagenError, JobCanceled, OutcomeUnknown
from imagen.ledger.jobs.fenced_writes import Paid
from imagen.services.draw.ledger_run import LedgerRun


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
