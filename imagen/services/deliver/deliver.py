"""Delivers generated jobs: file, sidecar, then ``succeeded``; each step may be killed and repeated.

A drain takes up to 64 jobs at once. It writes the files of as many as fit into 64 MB, syncs them
together and commits them in one transaction: nothing is ``succeeded`` before its files are on disk
for good.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imagen.domain.job import AttemptDisposition, Claim, Job, JobState
from imagen.domain.protocols import Clock, Publisher
from imagen.errors import DeliveryError, DiskFull, ImagenError, LeaseLost
from imagen.images.verify import BrokenImage
from imagen.ledger.jobs import delivery as ledger_delivery
from imagen.ledger.jobs.artifacts import Artifact, drop_files
from imagen.ledger.jobs.claim import Claimant
from imagen.ledger.jobs.delivery import Delivered
from imagen.ledger.queries.usage import record_usage
from imagen.ledger.store.engine import Ledger
from imagen.output.write import place, sweep_temps, sync_files, sync_folder, write_temp
from imagen.services.deliver.finished_image import (
    Numbers,
    Parcel,
    is_ours,
    pack,
    pick_target,
    sidecar_path,
)
from imagen.services.deliver.full_disks import FullDisks
from imagen.services.deliver.image_groups import MOST_BYTES, packed_groups
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.draw.retry_policy import Retry
from imagen.services.leases.heartbeat import Heartbeat
from imagen.services.leases.ledger_outage import retry_while_unavailable
from imagen.services.submit.wakeups import wakeup_for

log = logging.getLogger(__name__)

#: How often another name is tried when somebody takes ours between look and link.
_NAME_TRIES = 20


@dataclass(frozen=True)
class Delivery:
    """What delivering needs; one for a process."""

    ledger: Ledger
    heartbeat: Heartbeat
    publisher: Publisher
    clock: Clock
    #: Folders that may be written to, or nothing for any path of the user's own.
    allowed_dirs: Sequence[Path] | None = None
    #: Usage rows also go to a sink that is not the ledger.
    sends_usage: bool = False
    #: Copies can go to the cloud from here.
    has_cloud: bool = False
    #: Where the search for free names ended; only a hint, and small: names that are taken are rare.
    numbers: Numbers = field(default_factory=dict)
    #: Folders without space, which jobs wait for.
    full_disks: FullDisks = field(default_factory=FullDisks)
    most_bytes: int = MOST_BYTES

    def deliver_next(self, claimant: Claimant, *, host: str) -> list[ClaimOutcome]:
        """Deliver up to 64 waiting jobs of ``host``; empty when none waits.

        Whatever goes wrong with a job is written to the ledger and told in its outcome.

        Raises:
            LedgerUnavailable: the ledger is away; the jobs stay ``generated``.
        """
        claimed_at_s = self.clock.boottime_s()
        claims = ledger_delivery.claim_deliveries(self.ledger, claimant, host=host)
        if not claims:
            return []
        with self.heartbeat.holding(claims, claimed_at_s=claimed_at_s):
            return _Drain(self, claims).run()


@dataclass
class _Drain:
    """One round of deliveries, step by step over all of them."""

    delivery: Delivery
    claims: list[Claim]
    outcomes: list[ClaimOutcome] = field(default_factory=list)
    taken: set[Path] = field(default_factory=set)

    def run(self) -> list[ClaimOutcome]:
        self._record_usage()
        groups = packed_groups(
            self.delivery.ledger,
            self._writable(),
            self._pack_one,
            most_bytes=self.delivery.most_bytes,
        )
        for parcels in groups:
            self._succeed(self._write(self._aim(parcels)))
        return self.outcomes

    def _record_usage(self) -> None:
        """First of all: money spent is on record whatever happens to the file."""
        ledger, also_send = self.delivery.ledger, self.delivery.sends_usage
        retry_while_unavailable(
            lambda: record_usage(ledger, self.claims, also_send=also_send),
            clock=self.delivery.clock,
        )

    def _goes_to_cloud(self, job: Job) -> bool:
        """Whether a copy was asked for; ``on`` asks even where something is still missing."""
        if job.sync in ("on", "off"):
            return job.sync == "on"
        return bool(job.owner_user_id) and self.delivery.has_cloud

    def _writable(self) -> list[Claim]:
        """The claims whose folders may be tried; those of full disks are put off untouched."""
        disks, clock = self.delivery.full_disks, self.delivery.clock
        writable: list[Claim] = []
        waiting: dict[Path, list[Claim]] = {}
        for claim in self.claims:
            is_wait = claim.limited_s < disks.patience_s and disks.wait_s(_folder(claim), clock)
            (waiting.setdefault(_folder(claim), []) if is_wait else writable).append(claim)
        for folder, claims in waiting.items():
            error = DiskFull(f"no space in {folder}", "free some space there")
            self._put_off(claims, error, wait_s=max(1.0, disks.wait_s(folder, clock)))
        return writable

    def _pack_one(self, claim: Claim, artifact: Artifact | None) -> Parcel | None:
        if artifact is None:
            self._draw_again(claim)
            return None
        try:
            return pack(claim, artifact)
        except BrokenImage as error:
            self._fail(claim, DeliveryError(f"the image of job {claim.job.id} is broken: {error}"))
        except Exception as error:
            # One image that we stumble over must not keep all the others of this host.
            log.exception("pack_failed", extra={"job_id": str(claim.job.id)})
            what = f"the image of job {claim.job.id} cannot be made ready"
            self._fail(claim, DeliveryError(f"{what}: {type(error).__name__}, a bug in imagen"))
        return None

    def _aim(self, parcels: list[Parcel]) -> list[Parcel]:
        """Choose and commit each path before anything is written there."""
        aimed = [parcel for parcel in parcels if self._pick(parcel)]
        new = [parcel for parcel in aimed if str(parcel.target) != parcel.claim.job.output_path]
        held = self._record([(parcel.claim, str(parcel.target)) for parcel in new])
        lost = {id(parcel) for parcel, ok in zip(new, held, strict=True) if not ok}
        return [parcel for parcel in aimed if id(parcel) not in lost]

    def _pick(self, parcel: Parcel, *, above: int = 0) -> bool:
        try:
            parcel.target = pick_target(
                parcel,
                self.delivery.allowed_dirs,
                taken=self.taken,
                above=above,
                numbers=self.delivery.numbers,
            )
        except ImagenError as error:
            self._end(parcel.claim, error)
            return False
        self.taken.add(parcel.target)
        return True

    def _record(self, targets: list[tuple[Claim, str]]) -> list[bool]:
        if not targets:
            return []
        ledger = self.delivery.ledger
        return retry_while_unavailable(
            lambda: ledger_delivery.record_targets(ledger, targets), clock=self.delivery.clock
        )

    def _write(self, parcels: list[Parcel]) -> list[Parcel]:
        # Step by step over all of them: what the disk is asked to keep is written already.
        written = [parcel for parcel in parcels if self._guard(parcel, self._write_temps)]
        synced = [parcel for parcel in written if self._guard(parcel, _sync_temps)]
        placed = [parcel for parcel in synced if self._guard(parcel, self._place)]
        return self._sync_folders(placed)

    def _sync_folders(self, parcels: list[Parcel]) -> list[Parcel]:
        """Those whose names are on the disk; a folder that cannot be synced fails its own only."""
        synced = []
        for folder in {parcel.target.parent for parcel in parcels}:
            here = [parcel for parcel in parcels if parcel.target.parent == folder]
            try:
                sync_folder(folder)
                synced += here
            except DeliveryError as error:
                for parcel in here:
                    self._end(parcel.claim, error)
        return synced

    def _write_temps(self, parcel: Parcel) -> None:
        tag = parcel.claim.job.id.hex
        if parcel.claim.job.delivery_count > 1:
            # Whoever tried before is dead, or has lost the job and will find its files gone.
            sweep_temps(parcel.target.parent, tag)
        parcel.image_temp = write_temp(parcel.target.parent, parcel.image, tag=tag)
        parcel.image = b""
        if parcel.claim.job.output.sidecar:
            content = parcel.sidecar()
            parcel.sidecar_temp = write_temp(parcel.target.parent, content, tag=tag)

    def _place(self, parcel: Parcel) -> None:
        """Link both files to their names; another name where somebody was faster."""
        replace = parcel.claim.job.output.replace
        for _ in range(_NAME_TRIES):
            assert parcel.image_temp is not None
            try:
                place(parcel.image_temp, parcel.target, replace=replace)
                break
            except FileExistsError:
                if is_ours(parcel, parcel.target):
                    # An image that was drawn again has other bytes than the earlier try.
                    replace = True
                else:
                    self._rename(parcel)
        else:
            raise DeliveryError(f"no free name beside {parcel.target}", "clear the folder")
        if parcel.sidecar_temp is not None:
            # The name was free, or ours, when the image's was chosen.
            place(parcel.sidecar_temp, sidecar_path(parcel.target), replace=True)

    def _rename(self, parcel: Parcel) -> None:
        parcel.target = pick_target(
            parcel,
            self.delivery.allowed_dirs,
            taken=self.taken,
            above=parcel.number,
            numbers=self.delivery.numbers,
        )
        self.taken.add(parcel.target)
        if not all(self._record([(parcel.claim, str(parcel.target))])):
            raise LeaseLost(f"job {parcel.claim.job.id} is no longer held by this worker")
        if parcel.sidecar_temp is not None:
            # The sidecar names its image.
            parcel.sidecar_temp.unlink(missing_ok=True)
            tag = parcel.claim.job.id.hex
            parcel.sidecar_temp = write_temp(parcel.target.parent, parcel.sidecar(), tag=tag)
            sync_files([parcel.sidecar_temp])

    def _guard(self, parcel: Parcel, step: Callable[[Parcel], None]) -> bool:
        try:
            step(parcel)
        except ImagenError as error:
            for temp in parcel.temps:
                temp.unlink(missing_ok=True)
            self._end(parcel.claim, error)
            return False
        return True

    def _succeed(self, parcels: list[Parcel]) -> None:
        if not parcels:
            return
        done = [
            Delivered(
                parcel.claim,
                str(parcel.target),
                parcel.sha256,
                parcel.artifact_key,
                goes_to_cloud=self._goes_to_cloud(parcel.claim.job),
            )
            for parcel in parcels
        ]
        ledger = self.delivery.ledger
        held = retry_while_unavailable(
            lambda: ledger_delivery.record_succeeded(ledger, done), clock=self.delivery.clock
        )
        ours = [each for each, ok in zip(done, held, strict=True) if ok]
        if self.delivery.sends_usage or any(each.goes_to_cloud for each in ours):
            for host in {each.claim.job.delivery_host for each in ours}:
                self.delivery.publisher.wake_outbox(host)
        drop_files(ledger, [each.artifact_key for each in ours if not each.goes_to_cloud])
        for folder in {_folder(each.claim) for each in ours}:
            self.delivery.full_disks.note_written(folder)
        for each, ok in zip(done, held, strict=True):
            if ok:
                self._tell(each.claim, JobState.SUCCEEDED, path=each.output_path)
            else:
                log.warning("lease_lost", extra={"job_id": str(each.claim.job.id)})

    def _draw_again(self, claim: Claim) -> None:
        ledger = self.delivery.ledger
        if retry_while_unavailable(
            lambda: ledger_delivery.draw_again(ledger, claim), clock=self.delivery.clock
        ):
            log.warning("artifact_missing", extra={"job_id": str(claim.job.id)})
            self.delivery.publisher.wake_workers(claim.job.queue, [wakeup_for(claim.job)])
            self._tell(claim, JobState.QUEUED)

    def _end(self, claim: Claim, error: ImagenError) -> None:
        """Put the job off where only space is missing and there is patience left; else fail it."""
        disks = self.delivery.full_disks
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
        wait_s = min(disks.note_full(folder, self.delivery.clock), left_s)
        self._put_off([claim], error, wait_s=wait_s)
        if is_news:
            # No warning: a command tells it in a sentence of its own.
            log.info("disk_full", extra={"why": str(error), "wait_s": wait_s})
            told = replace(
                self.outcomes[-1], error=error, retry=Retry(wait_s, AttemptDisposition.KEEP)
            )
            self.outcomes[-1] = told
            event = {"event": "retry", "wait_s": wait_s, "why": str(error)}
            self.delivery.publisher.announce(claim.job, event)

    def _put_off(self, claims: list[Claim], error: DiskFull, *, wait_s: float) -> None:
        ledger = self.delivery.ledger
        retry_while_unavailable(
            lambda: ledger_delivery.put_off_deliveries(
                ledger, claims, wait_s=wait_s, code=error.code, message=str(error)
            ),
            clock=self.delivery.clock,
        )
        self.outcomes += [ClaimOutcome(claim.job.id, JobState.GENERATED) for claim in claims]

    def _fail(self, claim: Claim, error: ImagenError) -> None:
        ledger = self.delivery.ledger
        is_held = retry_while_unavailable(
            lambda: ledger_delivery.record_delivery_failed(
                ledger, claim, code=error.code, message=str(error)
            ),
            clock=self.delivery.clock,
        )
        if not is_held:
            # Whoever holds the job now decides what becomes of it, and tells of it.
            log.warning("lease_lost", extra={"job_id": str(claim.job.id)})
            return
        self._tell(claim, JobState.FAILED, error=error, code=error.code, why=str(error))

    def _tell(
        self, claim: Claim, state: JobState, *, error: ImagenError | None = None, **facts: object
    ) -> None:
        self.outcomes.append(ClaimOutcome(claim.job.id, state, error=error))
        self.delivery.publisher.announce(claim.job, {"event": state.value, **facts})


def _folder(claim: Claim) -> Path:
    return Path(claim.job.output.folder)


def _sync_temps(parcel: Parcel) -> None:
    sync_files(parcel.temps)
