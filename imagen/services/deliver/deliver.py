"""Delivers generated jobs: file, sidecar, then ``succeeded``; each step may be killed and repeated.

A drain takes up to 64 jobs at once. It writes the files of as many as fit into 64 MB, syncs them
together and commits them in one transaction: nothing is ``succeeded`` before its files are synced.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from imagen.domain.job import AttemptDisposition, Claim, Job, JobState
from imagen.domain.protocols import Clock, Publisher
from imagen.errors import DeliveryError, DiskFull, ImagenError
from imagen.images.broken import BrokenImage
from imagen.ledger.jobs import delivery as deliveries
from imagen.ledger.jobs.artifacts import Artifact, drop_files
from imagen.ledger.jobs.claim import Claimant
from imagen.ledger.queries.usage_rows import record_usage
from imagen.ledger.store.engine import Ledger
from imagen.services.deliver.file_writer import FileWriter
from imagen.services.deliver.finished_image import FinishedImage, finish_image
from imagen.services.deliver.full_disks import FullDisks
from imagen.services.deliver.image_groups import MOST_BYTES, finished_groups
from imagen.services.deliver.target_path import LastNumbers
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.draw.retry_policy import Retry
from imagen.services.leases.heartbeat import Heartbeat
from imagen.services.leases.ledger_outage import retry_while_unavailable
from imagen.services.submit.wakeups import wakeup_for

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class DeliveryService:
    """What delivering needs; one for a process."""

    ledger: Ledger
    heartbeat: Heartbeat
    publisher: Publisher
    clock: Clock
    #: Folders that may be written to; None for any path that this user may write.
    allowed_dirs: Sequence[Path] | None = None
    #: Usage rows are also sent to a table outside the ledger.
    sends_usage: bool = False
    #: Whether images can be copied to the cloud from here.
    has_cloud: bool = False
    #: Only a hint, and small: names that are taken are rare.
    numbers: LastNumbers = field(default_factory=dict)
    #: Folders without space, which jobs wait for.
    full_disks: FullDisks = field(default_factory=FullDisks)
    most_bytes: int = MOST_BYTES

    def deliver_next(self, claimant: Claimant, *, host: str) -> list[ClaimOutcome]:
        """Deliver up to 64 waiting jobs of ``host``; empty when none waits.

        What goes wrong with a job is written to the ledger and returned in its outcome.

        Raises:
            LedgerUnavailable: the ledger is away; the jobs stay ``generated``.
        """
        claimed_at_s = self.clock.boottime_s()
        claims = deliveries.claim_deliveries(self.ledger, claimant, host=host)
        if not claims:
            return []
        with self.heartbeat.holding(claims, claimed_at_s=claimed_at_s):
            return _Drain(self, claims).run()


@dataclass
class _Drain:
    """One round of deliveries."""

    service: DeliveryService
    claims: list[Claim]
    outcomes: list[ClaimOutcome] = field(default_factory=list)

    def run(self) -> list[ClaimOutcome]:
        ledger, also_send = self.service.ledger, self.service.sends_usage
        # First of all: money spent is on record whatever happens to the file.
        self._retry(lambda: record_usage(ledger, self.claims, also_send=also_send))
        writer = FileWriter(
            self.service.allowed_dirs, self.service.numbers, self._record_targets, self._end
        )
        groups = finished_groups(
            ledger, self._writable(), self._finish, most_bytes=self.service.most_bytes
        )
        for images in groups:
            self._succeed(writer.write(writer.choose_paths(images)))
        return self.outcomes

    def _retry(self, write: Callable[[], T]) -> T:
        return retry_while_unavailable(write, clock=self.service.clock)

    def _goes_to_cloud(self, job: Job) -> bool:
        """Whether a copy was requested; ``on`` requests one even where a setting is missing."""
        if job.sync in ("on", "off"):
            return job.sync == "on"
        return bool(job.owner_user_id) and self.service.has_cloud

    def _writable(self) -> list[Claim]:
        """The claims whose folders may be tried; those of full disks are put off untouched."""
        disks, clock = self.service.full_disks, self.service.clock
        writable: list[Claim] = []
        waiting: dict[Path, list[Claim]] = {}
        for claim in self.claims:
            is_wait = claim.limited_s < disks.patience_s and disks.wait_s(_folder(claim), clock)
            (waiting.setdefault(_folder(claim), []) if is_wait else writable).append(claim)
        for folder, claims in waiting.items():
            error = DiskFull(f"no space in {folder}", "free some space there")
            self._put_off(claims, error, wait_s=max(1.0, disks.wait_s(folder, clock)))
        return writable

    def _finish(self, claim: Claim, artifact: Artifact | None) -> FinishedImage | None:
        if artifact is None:
            self._draw_again(claim)
            return None
        try:
            return finish_image(claim, artifact)
        except BrokenImage as error:
            self._fail(claim, DeliveryError(f"the image of job {claim.job.id} is broken: {error}"))
        except Exception as error:
            # One image that raises an unknown error must not keep all the others of this host.
            log.exception("finish_failed", extra={"job_id": str(claim.job.id)})
            what = f"the image of job {claim.job.id} cannot be made ready"
            self._fail(claim, DeliveryError(f"{what}: {type(error).__name__}, a bug in imagen"))
        return None

    def _record_targets(self, targets: list[tuple[Claim, str]]) -> list[bool]:
        if not targets:
            return []
        return self._retry(lambda: deliveries.record_targets(self.service.ledger, targets))

    def _succeed(self, images: list[FinishedImage]) -> None:
        if not images:
            return
        done = [
            deliveries.Delivered(
                image.claim,
                str(image.target),
                image.sha256,
                image.artifact_key,
                goes_to_cloud=self._goes_to_cloud(image.claim.job),
            )
            for image in images
        ]
        ledger = self.service.ledger
        held = self._retry(lambda: deliveries.record_succeeded(ledger, done))
        ours = [each for each, is_held in zip(done, held, strict=True) if is_held]
        if self.service.sends_usage or any(each.goes_to_cloud for each in ours):
            for host in {each.claim.job.delivery_host for each in ours}:
                self.service.publisher.wake_outbox(host)
        drop_files(ledger, [each.artifact_key for each in ours if not each.goes_to_cloud])
        for folder in {_folder(each.claim) for each in ours}:
            self.service.full_disks.note_written(folder)
        for each, is_held in zip(done, held, strict=True):
            if is_held:
                self._tell(each.claim, JobState.SUCCEEDED, path=each.output_path)
            else:
                log.warning("lease_lost", extra={"job_id": str(each.claim.job.id)})

    def _draw_again(self, claim: Claim) -> None:
        if self._retry(lambda: deliveries.draw_again(self.service.ledger, claim)):
            log.warning("artifact_missing", extra={"job_id": str(claim.job.id)})
            self.service.publisher.wake_workers(claim.job.queue, [wakeup_for(claim.job)])
            self._tell(claim, JobState.QUEUED)

    def _end(self, claim: Claim, error: ImagenError) -> None:
        """Put the job off where only space is missing and there is patience left; else fail it."""
        disks = self.service.full_disks
        if not isinstance(error, DiskFull):
            self._fail(claim, error)
            return
        left_s = disks.patience_s - claim.limited_s
        if left_s <= 0:
            hint = f"{error.hint}, then: imagen jobs retry {claim.job.id}"
            self._fail(claim, DiskFull(error.message, hint))
            return
        folder = _folder(claim)
        is_news = not disks.is_full(folder)
        wait_s = min(disks.note_full(folder, self.service.clock), left_s)
        self._put_off([claim], error, wait_s=wait_s)
        if is_news:
            # No warning: a command prints a sentence of its own.
            log.info("disk_full", extra={"why": str(error), "wait_s": wait_s})
            retry = Retry(wait_s, AttemptDisposition.KEEP)
            self.outcomes[-1] = replace(self.outcomes[-1], error=error, retry=retry)
            event = {"event": "retry", "wait_s": wait_s, "why": str(error)}
            self.service.publisher.announce(claim.job, event)

    def _put_off(self, claims: list[Claim], error: DiskFull, *, wait_s: float) -> None:
        self._retry(
            lambda: deliveries.put_off_deliveries(
                self.service.ledger, claims, wait_s=wait_s, code=error.code, message=str(error)
            )
        )
        self.outcomes += [ClaimOutcome(claim.job.id, JobState.GENERATED) for claim in claims]

    def _fail(self, claim: Claim, error: ImagenError) -> None:
        is_held = self._retry(
            lambda: deliveries.record_delivery_failed(
                self.service.ledger, claim, code=error.code, message=str(error)
            )
        )
        if not is_held:
            # The process that holds the job now decides on it, and announces the result.
            log.warning("lease_lost", extra={"job_id": str(claim.job.id)})
            return
        self._tell(claim, JobState.FAILED, error=error, code=error.code, why=str(error))

    def _tell(
        self, claim: Claim, state: JobState, *, error: ImagenError | None = None, **facts: object
    ) -> None:
        self.outcomes.append(ClaimOutcome(claim.job.id, state, error=error))
        self.service.publisher.announce(claim.job, {"event": state.value, **facts})


def _folder(claim: Claim) -> Path:
    return Path(claim.job.output.folder)
