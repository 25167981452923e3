"""Draws the next waiting job: claim, draw, keep the image; every executor runs this function."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace

from imagen.domain.drawing_record import DrawingRecord, requested_of
from imagen.domain.drawn import Drawn
from imagen.domain.job import AttemptState, Claim, Job, JobState
from imagen.domain.protocols import Backend, BackendLookup, Clock, Publisher
from imagen.domain.size import Size
from imagen.errors import ImagenError, LeaseLost, LedgerUnavailable
from imagen.ledger.jobs.artifacts import artifact_of
from imagen.ledger.jobs.claim import Claimant, claim_job
from imagen.ledger.jobs.generated import Finish, record_generated
from imagen.ledger.store.engine import Ledger
from imagen.services.draw.attempt_end import AttemptEnd
from imagen.services.draw.circuit import Circuits
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.draw.ledger_run import LedgerRun
from imagen.services.draw.retry_policy import RetryPolicy
from imagen.services.leases.heartbeat import Heartbeat, Lease, try_to_give_back
from imagen.services.leases.ledger_outage import retry_while_unavailable

log = logging.getLogger(__name__)


@dataclass
class LoadedModel:
    """The affinity of the last job that had one. Threads of one process share it.

    ``turn`` is held from reading ``name`` until the claim that used it is known.
    """

    name: str | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)

    def use(self, affinity: str | None) -> None:
        """Remember what a claimed job will have loaded; one without affinity changes nothing."""
        if affinity is not None:
            self.name = affinity


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
    #: Usage rows are also sent to a table outside the ledger.
    sends_usage: bool = False

    def draw_next(self, claimant: Claimant, *, crashed: bool | None = None) -> ClaimOutcome | None:
        """Claim the best waiting job and draw it; None when none waits.

        Blocks for as long as the backend takes. What goes wrong with the job is written to the
        ledger and returned in the outcome, not raised.

        Raises:
            LedgerUnavailable: the ledger is away; what was held is left to its lease.
        """
        # In turns: a thread that does not know yet what another one just claimed would go back to
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
            self.publisher.announce(claim.job, {"event": "running"})
            outcome = self._draw(claim, lease)
        return replace(outcome, seconds=self.clock.boottime_s() - claimed_at_s)

    def _draw(self, claim: Claim, lease: Lease) -> ClaimOutcome:
        run = LedgerRun(self.ledger, lease, self.heartbeat, self.publisher, self.clock)
        end = self._end_of(claim)
        try:
            backend = self.backends.get(claim.job.backend)
        except ImagenError as error:
            return end.failed(error)
        try:
            lease.check()
            if claim.job.cancel_requested_at is not None:
                if claim.attempt.state is not AttemptState.INTENDED:
                    return end.canceled_while_queued(backend)
                # A paid call may have been sent whose id is not on record. The backend looks for
                # it and cancels it; a canceled lease lets it send no other.
                lease.is_canceled = run.may_look_first = True
            drawn = backend.generate(claim.job.request, run)
            self.circuits.note_answer(claim.job.backend)
            self._keep(claim, backend, drawn, run.age_ms)
        except LeaseLost as lost:
            # The lease may still be held, only too short for a paid call or with an id that a
            # stopped worker's late answer brought: the heartbeat would keep the job for ever.
            try_to_give_back(self.ledger, claim)
            return end.lost(lost)
        except LedgerUnavailable:
            try_to_give_back(self.ledger, claim)
            raise
        except ImagenError as error:
            return end.after_error(error, backend, run)
        except Exception as error:
            # An adapter's bug must not look like a crash of the worker: it would be tried again.
            log.exception("backend_raised", extra={"job_id": str(claim.job.id)})
            return end.after_bug(error, backend, run)
        _forget(backend, run.external_id or claim.attempt.external_id)
        return ClaimOutcome(claim.job.id, JobState.GENERATED)

    def _end_of(self, claim: Claim) -> AttemptEnd:
        return AttemptEnd(
            claim,
            self.ledger,
            self.backends,
            self.publisher,
            self.clock,
            self.policy,
            self.circuits,
            self.sends_usage,
        )

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


def record_drawing(job: Job, drawn: Drawn) -> DrawingRecord:
    """The record of ``drawn``; the bytes are not trusted, and need not be an image."""
    requested = job.requested or requested_of(job.request)
    return DrawingRecord.of(requested, job.request, drawn, size=_size_of(drawn.data))


def _size_of(data: bytes) -> Size | None:
    # Brings Pillow, which a process that only submits has no use for.
    from imagen.images.broken import BrokenImage  # noqa: PLC0415
    from imagen.images.verify import read_header  # noqa: PLC0415

    try:
        header = read_header(data)
    except BrokenImage:
        # The delivery inspects it again, and fails the job with a message.
        return None
    return Size(header.width, header.height)


def _forget(backend: Backend, external_id: str | None) -> None:
    """Let the backend drop what it kept of a drawing; the image is in the ledger."""
    if external_id is None:
        return
    try:
        backend.forget(external_id)
    except Exception:
        log.warning("forget_failed", exc_info=True)


def _log_claim(claim: Claim) -> None:
    facts = {
        "job_id": str(claim.job.id),
        "backend": claim.job.backend,
        "caller": claim.job.caller,
        "attempt": claim.attempt.number,
    }
    log.info("job_claimed", extra=facts)
