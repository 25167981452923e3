"""Writes how a claim ends that brought no image: put back, failed, canceled, or lost."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from imagen.domain.cost import Bill, Cost
from imagen.domain.job import AttemptDisposition, AttemptState, Claim, JobState
from imagen.domain.protocols import Backend, BackendLookup, Clock, Publisher
from imagen.errors import (
    BackendRejected,
    BackendUnavailable,
    CredentialError,
    ImagenError,
    JobCanceled,
    LeaseLost,
    LedgerError,
    OutcomeUnknown,
    OutputRefused,
    SecretOption,
)
from imagen.ledger.jobs.crashes import deny_crash
from imagen.ledger.jobs.fenced_writes import Ending, Paid, record_failed, record_retry
from imagen.ledger.jobs.pauses import pause_backend
from imagen.ledger.store.engine import Ledger
from imagen.services.draw.circuit import Circuits
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.draw.ledger_run import LedgerRun
from imagen.services.draw.retry_policy import (
    Fail,
    Retry,
    RetryPolicy,
    Situation,
    decide,
    is_answer,
    is_refusal,
)
from imagen.services.leases.ledger_outage import retry_while_unavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AttemptEnd:
    """The end of one claim; each method writes it to the ledger and returns the outcome."""

    claim: Claim
    ledger: Ledger
    backends: BackendLookup
    publisher: Publisher
    clock: Clock
    policy: RetryPolicy
    circuits: Circuits
    sends_usage: bool

    def after_error(self, error: ImagenError, backend: Backend, run: LedgerRun) -> ClaimOutcome:
        """What the retry policy decides about an error."""
        was_sent = run.external_id is not None or self.claim.attempt.external_id is not None
        cost = None
        if not backend.repeat_is_free and (error.spent or was_sent):
            # No provider says what a failed attempt cost: it is recorded at its usual price.
            cost = backend.estimate(self.claim.job.request)
        paid = self._paid(backend, run.bill, latency_ms=run.age_ms)
        if isinstance(error, JobCanceled):
            return self._canceled(error, cost=cost, paid=paid)
        decision = decide(error, self._situation(error, backend, run), self.policy)
        if isinstance(decision, Fail):
            # What could not be asked now may have been drawn: a retry by hand asks again first.
            may_be_there = was_sent and isinstance(
                error, (CredentialError, OutcomeUnknown, OutputRefused)
            )
            may_be_there |= run.is_unsettled and not isinstance(error, OutcomeUnknown)
            return self.failed(error, cost=cost, keep_attempt=may_be_there, paid=paid)
        if decision.pause_s:
            self._pause_account(error, decision.pause_s)
        return self._put_back(error, decision)

    def after_bug(self, error: Exception, backend: Backend, run: LedgerRun) -> ClaimOutcome:
        """As ``after_error`` for an exception that no adapter should raise."""
        job = self.claim.job
        what = f"backend {job.backend!r} failed with {type(error).__name__}, a bug in its adapter"
        known_id = run.external_id or self.claim.attempt.external_id
        meaning: ImagenError = BackendRejected(what)
        if (run.has_intended or run.is_unsettled or known_id) and not backend.repeat_is_free:
            meaning = OutcomeUnknown(f"{what}, after a call that may be paid for")
        return self.after_error(meaning, backend, run)

    def canceled_while_queued(self, backend: Backend) -> ClaimOutcome:
        """Cancels what a dead worker left at the backend, for a job that was canceled since."""
        bill = None
        if self.claim.attempt.external_id is not None:
            try:
                bill = backend.cancel(self.claim.attempt.external_id)
            except BackendUnavailable as error:
                return self._cancel_later(backend, error)
        # The dead worker may have sent a paid call: its cost is recorded.
        cost = None if backend.repeat_is_free else backend.estimate(self.claim.job.request)
        paid = self._paid(backend, bill, latency_ms=None)
        return self._canceled(self._cancel_error(), cost=cost, paid=paid)

    def failed(
        self,
        error: ImagenError,
        *,
        cost: Cost | None = None,
        keep_attempt: bool = False,
        paid: Paid | None = None,
    ) -> ClaimOutcome:
        """The job ends; with ``keep_attempt`` a retry by hand resumes the attempt."""
        secret = error.options if isinstance(error, SecretOption) else ()
        ending = Ending(error.code, str(error), AttemptState.FAILED, cost, secret)
        return self._end(JobState.FAILED, error, ending, keep_attempt=keep_attempt, paid=paid)

    def lost(self, error: LeaseLost) -> ClaimOutcome:
        """Leaves the job to the process that holds it now, which decides on it and announces it."""
        log.warning("lease_lost", extra={"job_id": str(self.claim.job.id)})
        try:
            deny_crash(self.ledger, self.claim)
        except LedgerError as unwritten:
            log.debug("crash_not_denied", extra={"why": str(unwritten)})
        return ClaimOutcome(self.claim.job.id, JobState.RUNNING, error=error)

    def _situation(self, error: ImagenError, backend: Backend, run: LedgerRun) -> Situation:
        """What the retry policy may look at; the backend's circuit is told of the error."""
        job = self.claim.job
        situation = Situation(
            job.attempt_count - job.tried_before,
            self.claim.limited_s,
            backend.repeat_is_free,
            was_sent=run.external_id is not None,
            is_resumed=run.previous is not None,
        )
        if not self.policy.waits_for_backends:
            return situation
        if is_refusal(error, situation):
            refusal = self.circuits.note_refusal(job.backend, job.id, error)
            return replace(situation, refusal=refusal)
        if is_answer(error):
            self.circuits.note_answer(job.backend)
        return situation

    def _pause_account(self, error: ImagenError, pause_s: float) -> None:
        """Stop claiming jobs of every backend that shares the account of this job's backend."""
        limited_s = None if math.isinf(pause_s) else pause_s
        for name in self.backends.sharing_account(self.claim.job.backend):
            pause_backend(self.ledger, name, reason=str(error), pause_s=limited_s, code=error.code)
        log.error("backend_paused", extra={"backend": self.claim.job.backend, "why": str(error)})

    def _paid(self, backend: Backend, bill: Bill | None, *, latency_ms: int | None) -> Paid | None:
        """What a bill puts on record; None where there is none, or drawing costs nothing.

        A bill without an amount is taken at the backend's usual price.
        """
        if bill is None or backend.repeat_is_free:
            return None
        if bill.cost.usd is None:
            bill = replace(bill, cost=backend.estimate(self.claim.job.request))
        return Paid(bill, latency_ms, is_metered=backend.is_metered, also_send=self.sends_usage)

    def _cancel_later(self, backend: Backend, error: BackendUnavailable) -> ClaimOutcome:
        """Keep the attempt for another try; in the end say that a paid one may still go on."""
        if self.claim.limited_s < self.policy.rate_limit_patience_s:
            return self._put_back(error, Retry(self.policy.backoff_base_s, AttemptDisposition.KEEP))
        log.warning("cancel_not_heard", extra={"job_id": str(self.claim.job.id)})
        if backend.repeat_is_free:
            return self._canceled(self._cancel_error())
        since = f"asked for since {self.claim.job.cancel_requested_at:%H:%M} UTC"
        unknown = OutcomeUnknown(f"{error.message}; {since}", error.hint)
        cost = backend.estimate(self.claim.job.request)
        return self.failed(unknown, cost=cost, keep_attempt=True)

    def _cancel_error(self) -> JobCanceled:
        return JobCanceled(f"job {self.claim.job.id} was canceled on request")

    def _canceled(
        self, error: JobCanceled, *, cost: Cost | None = None, paid: Paid | None = None
    ) -> ClaimOutcome:
        if paid is not None:
            message = f"{error.message}; its image had been drawn, and is paid for"
            error = JobCanceled(message, error.hint)
        ending = Ending(error.code, str(error), AttemptState.CANCELED, cost)
        return self._end(JobState.CANCELED, error, ending, paid=paid)

    def _put_back(self, error: ImagenError, retry: Retry) -> ClaimOutcome:
        ending = Ending(error.code, str(error))
        lost = self._write(
            lambda: record_retry(
                self.ledger,
                self.claim,
                ending,
                wait_s=retry.wait_s,
                disposition=retry.disposition,
                limited=retry.limited,
            )
        )
        if lost is not None:
            return lost
        facts = {"job_id": str(self.claim.job.id), "code": error.code, "wait_s": retry.wait_s}
        log.info("job_put_back", extra=facts)
        return self._outcome(
            JobState.QUEUED, error, retry, event="retry", wait_s=retry.wait_s, why=str(error)
        )

    def _end(
        self,
        state: JobState,
        error: ImagenError,
        ending: Ending,
        *,
        keep_attempt: bool = False,
        paid: Paid | None = None,
    ) -> ClaimOutcome:
        lost = self._write(
            lambda: record_failed(
                self.ledger, self.claim, ending, keep_attempt=keep_attempt, paid=paid
            )
        )
        if lost is not None:
            return lost
        return self._outcome(state, error, None, event=state.value, code=error.code, why=str(error))

    def _write(self, write: Callable[[], None]) -> ClaimOutcome | None:
        """The outcome where the lease is lost; None when it is written."""
        try:
            retry_while_unavailable(write, clock=self.clock)
        except LeaseLost as lost:
            return self.lost(lost)
        return None

    def _outcome(
        self, state: JobState, error: ImagenError, retry: Retry | None, **event: object
    ) -> ClaimOutcome:
        self.publisher.announce(self.claim.job, event)
        return ClaimOutcome(self.claim.job.id, state, error=error, retry=retry)
