"""Draws the next waiting job: claim, draw, keep the image; every executor runs this function."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from imagen.domain.cost import Cost
from imagen.domain.drawn import Drawn
from imagen.domain.job import AttemptDisposition, AttemptState, Claim, JobState
from imagen.domain.protocols import Backend, Clock, Publisher
from imagen.errors import (
    BackendUnavailable,
    CredentialError,
    ImagenError,
    JobCanceled,
    LeaseLost,
    LedgerClosed,
    LedgerError,
    LedgerUnavailable,
    OutcomeUnknown,
    OutputRefused,
    SecretOption,
)
from imagen.ledger.jobs import fenced_writes
from imagen.ledger.jobs.artifacts import artifact_of
from imagen.ledger.jobs.claim import Claimant, claim_job
from imagen.ledger.jobs.crashes import deny_crash
from imagen.ledger.jobs.generated import Finish, record_generated
from imagen.ledger.jobs.pauses import pause_backend
from imagen.ledger.store.engine import Ledger
from imagen.services.draw.attempt_record import (
    meaning_of_bug,
    paid_for,
    record_drawing,
    tell_cancel,
)
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
from imagen.services.leases.heartbeat import Heartbeat, Lease
from imagen.services.leases.ledger_outage import retry_while_unavailable


@dataclass
class LoadedModel:
    """The affinity of the last job that had one. Threads of one process share it.

    ``turn`` is held from the look at ``name`` until the claim that came of it is known.
    """

    name: str | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)

    def use(self, affinity: str | None) -> None:
        """Remember what a claimed job will have loaded; one without affinity changes nothing."""
        if affinity is not None:
            self.name = affinity


log = logging.getLogger(__name__)


class BackendLookup(Protocol):
    """Where the services get a configured backend from, by name."""

    def get(self, name: str) -> Backend: ...

    def sharing_account(self, name: str) -> list[str]: ...


@dataclass(frozen=True)
class DrawService:
    """What drawing needs; one for a process, shared by its threads."""

    ledger: Ledger
    backends: BackendLookup
    heartbeat: Heartbeat
    publisher: Publisher
    clock: Clock
    policy: RetryPolicy
    circuits: Circuits
    loaded: LoadedModel = field(default_factory=LoadedModel)
    #: Usage goes to a table that is not in the ledger.
    sends_usage: bool = False

    def draw_next(self, claimant: Claimant, *, crashed: bool | None = None) -> ClaimOutcome | None:
        """Claim the best waiting job and draw it; nothing when none waits.

        Blocks for as long as the backend takes. Whatever goes wrong with the job is written to the
        ledger and told in the outcome, not raised.

        Raises:
            LedgerUnavailable: the ledger is away; what was held is given up to its lease.
        """
        # In turns: a thread that has not heard yet what another one just claimed would go back to
        # the model that is being unloaded.
        with self.loaded.turn:
            claimed_at_s = self.clock.boottime_s()
            claimant = replace(claimant, model=self.loaded.name, left_out=self.circuits.open_names)
            claim = claim_job(self.ledger, claimant, crashed=crashed)
            if claim is None:
                return None
            self.loaded.use(claim.job.affinity)
        with (
            self.circuits.drawing(claim.job.backend),
            self.heartbeat.holding([claim], claimed_at_s=claimed_at_s) as [lease],
        ):
            _log_claim(claim)
            self._announce(claim, "running")
            outcome = self._draw(claim, lease)
        seconds = self.clock.boottime_s() - claimed_at_s
        return replace(outcome, seconds=seconds)

    def _draw(self, claim: Claim, lease: Lease) -> ClaimOutcome:
        run = LedgerRun(self.ledger, lease, self.heartbeat, self.publisher, self.clock)
        try:
            backend = self.backends.get(claim.job.backend)
        except ImagenError as error:
            return self._end(claim, error)
        try:
            if claim.job.cancel_requested_at is not None:
                if claim.attempt.state is not AttemptState.INTENDED:
                    return self._stop_canceled(claim, backend)
                # A paid call may have been sent whose id is not on record. The backend looks for
                # it and cancels it; a canceled lease lets it send no other.
                lease.is_canceled = run.may_look_first = True
            drawn = backend.generate(claim.job.request, run)
            self.circuits.note_answer(claim.job.backend)
            self._keep(claim, backend, drawn, run.age_ms)
        except LeaseLost as lost:
            # It may be ours all the same, only too short for a paid call or with an id that a
            # stopped worker's late answer brought: kept by the heartbeat, nobody would ever go on.
            self._give_back(claim)
            return self._lost(claim, lost)
        except LedgerUnavailable:
            self._give_back(claim)
            raise
        except ImagenError as error:
            return self._settle(claim, error, backend, run)
        except Exception as error:
            # An adapter's bug must not look like a crash of the worker: it would be tried again.
            log.exception("backend_raised", extra={"job_id": str(claim.job.id)})
            return self._settle(claim, meaning_of_bug(error, claim, backend, run), backend, run)
        self._forget(backend, run.external_id or claim.attempt.external_id)
        return ClaimOutcome(claim.job.id, JobState.GENERATED)

    def _keep(self, claim: Claim, backend: Backend, drawn: Drawn, latency_ms: int) -> None:
        artifact = artifact_of(claim, drawn.data)
        record = record_drawing(claim.job, drawn)
        finish = Finish(drawn, record, artifact, latency_ms, is_metered=backend.is_metered)
        # A free image that a power cut takes is drawn again; a paid one must not be.
        durable = not backend.repeat_is_free
        retry_while_unavailable(
            lambda: record_generated(self.ledger, claim, finish, durable=durable),
            clock=self.clock,
        )
        self.publisher.wake_results(claim.job.delivery_host)

    def _settle(
        self, claim: Claim, error: ImagenError, backend: Backend, run: LedgerRun
    ) -> ClaimOutcome:
        """Write what the retry policy makes of an error."""
        was_sent = run.external_id is not None or claim.attempt.external_id is not None
        cost = None
        if not backend.repeat_is_free and (error.spent or was_sent):
            # Nobody says what a failed attempt cost, so it is on record at its usual price.
            cost = backend.estimate(claim.job.request)
        paid = paid_for(claim, backend, run.bill, latency_ms=run.age_ms, also_send=self.sends_usage)
        if isinstance(error, JobCanceled):
            error = tell_cancel(error, paid)
            return self._end(claim, error, state=AttemptState.CANCELED, cost=cost, paid=paid)
        situation = self._situation(claim, error, backend, run)
        decision = decide(error, situation, self.policy)
        if isinstance(decision, Fail):
            # What could not be asked now may have been drawn: a retry by hand asks again first.
            may_be_there = was_sent and isinstance(
                error, (CredentialError, OutcomeUnknown, OutputRefused)
            )
            may_be_there |= run.is_unsettled and not isinstance(error, OutcomeUnknown)
            return self._end(claim, error, cost=cost, keep_attempt=may_be_there, paid=paid)
        if decision.pause_s:
            names = self.backends.sharing_account(claim.job.backend)
            pause_account(self.ledger, names, error, pause_s=decision.pause_s)
            log.error("backend_paused", extra={"backend": claim.job.backend, "why": str(error)})
        return self._put_off(claim, error, decision)

    def _situation(
        self, claim: Claim, error: ImagenError, backend: Backend, run: LedgerRun
    ) -> Situation:
        """What the retry policy may look at; the backend's circuit hears of the error."""
        situation = Situation(
            claim.job.attempt_count - claim.job.tried_before,
            claim.limited_s,
            backend.repeat_is_free,
            was_sent=run.external_id is not None,
            is_resumed=run.previous is not None,
        )
        name = claim.job.backend
        if not self.policy.waits_for_backends:
            return situation
        if is_refusal(error, situation):
            refusal = self.circuits.note_refusal(name, claim.job.id, error)
            return replace(situation, refusal=refusal)
        if is_answer(error):
            self.circuits.note_answer(name)
        return situation

    def _put_off(self, claim: Claim, error: ImagenError, decision: Retry) -> ClaimOutcome:
        ending = fenced_writes.Ending(error.code, str(error))
        try:
            retry_while_unavailable(
                lambda: fenced_writes.record_retry(
                    self.ledger,
                    claim,
                    ending,
                    wait_s=decision.wait_s,
                    disposition=decision.disposition,
                    limited=decision.limited,
                ),
                clock=self.clock,
            )
        except LeaseLost as lost:
            return self._lost(claim, lost)
        facts = {"job_id": str(claim.job.id), "code": error.code, "wait_s": decision.wait_s}
        log.info("job_put_back", extra=facts)
        self._announce(claim, "retry", wait_s=decision.wait_s, why=str(error))
        return ClaimOutcome(claim.job.id, JobState.QUEUED, error=error, retry=decision)

    def _end(
        self,
        claim: Claim,
        error: ImagenError,
        *,
        state: AttemptState = AttemptState.FAILED,
        cost: Cost | None = None,
        keep_attempt: bool = False,
        paid: fenced_writes.Paid | None = None,
    ) -> ClaimOutcome:
        secret = error.options if isinstance(error, SecretOption) else ()
        ending = fenced_writes.Ending(error.code, str(error), state, cost, secret)
        try:
            retry_while_unavailable(
                lambda: fenced_writes.record_failed(
                    self.ledger, claim, ending, keep_attempt=keep_attempt, paid=paid
                ),
                clock=self.clock,
            )
        except LeaseLost as lost:
            return self._lost(claim, lost)
        final = JobState.CANCELED if state is AttemptState.CANCELED else JobState.FAILED
        self._announce(claim, final.value, code=error.code, why=str(error))
        return ClaimOutcome(claim.job.id, final, error=error)

    def _stop_canceled(self, claim: Claim, backend: Backend) -> ClaimOutcome:
        """Cancel the work of a worker that is gone, for a job that was canceled meanwhile."""
        bill = None
        if claim.attempt.external_id is not None:
            try:
                bill = backend.cancel(claim.attempt.external_id)
            except BackendUnavailable as unheard:
                return self._cancel_again(claim, backend, unheard)
        error = JobCanceled(f"job {claim.job.id} was canceled on request")
        # The worker that is gone may have sent a paid call: what that costs is on record.
        cost = None if backend.repeat_is_free else backend.estimate(claim.job.request)
        paid = paid_for(claim, backend, bill, latency_ms=None, also_send=self.sends_usage)
        error = tell_cancel(error, paid)
        return self._end(claim, error, state=AttemptState.CANCELED, cost=cost, paid=paid)

    def _cancel_again(
        self, claim: Claim, backend: Backend, unheard: BackendUnavailable
    ) -> ClaimOutcome:
        """Keep the attempt for another try; in the end say that a paid one may still go on."""
        if claim.limited_s < self.policy.rate_limit_patience_s:
            again = Retry(self.policy.backoff_base_s, AttemptDisposition.KEEP)
            return self._put_off(claim, unheard, again)
        log.warning("cancel_not_heard", extra={"job_id": str(claim.job.id)})
        if backend.repeat_is_free:
            error = JobCanceled(f"job {claim.job.id} was canceled on request")
            return self._end(claim, error, state=AttemptState.CANCELED)
        since = f"asked for since {claim.job.cancel_requested_at:%H:%M} UTC"
        unknown = OutcomeUnknown(f"{unheard.message}; {since}", unheard.hint)
        cost = backend.estimate(claim.job.request)
        return self._end(claim, unknown, cost=cost, keep_attempt=True)

    def _give_back(self, claim: Claim) -> None:
        """Try to: a job left to its lease would count a crash although no worker died."""
        try:
            fenced_writes.give_back(self.ledger, claim)
        except (LeaseLost, LedgerClosed):
            # A closed ledger's process is ending, and has given back what it held.
            return
        except LedgerError as error:
            log.warning("lease_not_given_back", extra={"why": str(error)})

    def _lost(self, claim: Claim, error: LeaseLost) -> ClaimOutcome:
        """Leave the job to the one that holds it now, which decides on it and tells of it."""
        log.warning("lease_lost", extra={"job_id": str(claim.job.id)})
        try:
            deny_crash(self.ledger, claim)
        except LedgerError as unwritten:
            log.debug("crash_not_denied", extra={"why": str(unwritten)})
        return ClaimOutcome(claim.job.id, JobState.RUNNING, error=error)

    def _forget(self, backend: Backend, external_id: str | None) -> None:
        if external_id is None:
            return
        try:
            backend.forget(external_id)
        except Exception:
            # The image is safe; what the server keeps of it is its own business.
            log.warning("forget_failed", exc_info=True)

    def _announce(self, claim: Claim, event: str, **facts: object) -> None:
        self.publisher.announce(claim.job, {"event": event, **facts})


def _log_claim(claim: Claim) -> None:
    facts = {
        "job_id": str(claim.job.id),
        "backend": claim.job.backend,
        "caller": claim.job.caller,
        "attempt": claim.attempt.number,
    }
    log.info("job_claimed", extra=facts)


def pause_account(
    ledger: Ledger, backends: Sequence[str], error: ImagenError, *, pause_s: float
) -> None:
    """Stop claiming jobs of these backends, which share an account, because of ``error``.

    For ``pause_s`` seconds; where that is infinite, until ``imagen backends resume``.
    """
    limited_s = None if math.isinf(pause_s) else pause_s
    for name in backends:
        pause_backend(ledger, name, reason=str(error), pause_s=limited_s, code=error.code)
