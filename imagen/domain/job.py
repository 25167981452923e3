"""A job: a request on its way, from its row in the ledger to the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from imagen.domain.drawing_record import DrawingRecord, Requested, requested_of
from imagen.domain.request import ImageRequest


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    GENERATED = "generated"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL_STATES


TERMINAL_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED})


class Phase(StrEnum):
    """The stage at which a failed job stopped, where ``imagen jobs retry`` resumes it."""

    DRAW = "draw"
    DELIVER = "deliver"


class Lane(StrEnum):
    """Which jobs go first: every waiting interactive one before any bulk one."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Output:
    """Where and how the image is to be written; decided at submission.

    Attributes:
        folder: absolute path.
        name: file name; may still hold ``{ext}``, which follows the bytes.
        replace: an explicit ``--output`` replaces an existing file; a templated name never does.
        metadata: ``full``, ``safe`` (no prompt) or ``none``.
    """

    folder: str
    name: str
    replace: bool = False
    sidecar: bool = True
    metadata: str = "full"


@dataclass(frozen=True, slots=True)
class JobDraft:
    """A job that is not in the ledger yet; every default is resolved."""

    id: UUID
    request: ImageRequest
    output: Output
    backend: str
    queue: str
    caller: str
    delivery_host: str
    lane: Lane = Lane.INTERACTIVE
    affinity: str | None = None
    batch_id: UUID | None = None
    position: int | None = None
    run: int = 0
    dedupe_key: str | None = None
    owner_user_id: str = ""
    sync: str = ""
    #: What was asked for, where that differs from the request.
    requested: Requested | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the ledger knows it.

    Times are UTC. ``output_path`` is the file's final absolute path once delivery has chosen it.
    ``fence`` grows with every claim;
    ``tried_before`` counts the attempts before ``imagen jobs retry``.
    """

    id: UUID
    state: JobState
    request: ImageRequest
    output: Output
    backend: str
    queue: str
    lane: Lane
    caller: str
    delivery_host: str
    created_at: datetime
    phase: Phase = Phase.DRAW
    affinity: str | None = None
    batch_id: UUID | None = None
    position: int | None = None
    dedupe_key: str | None = None
    not_before: datetime | None = None
    lease_owner: str | None = None
    lease_expires_at: datetime | None = None
    fence: int = 0
    attempt_id: UUID | None = None
    attempt_count: int = 0
    tried_before: int = 0
    crash_count: int = 0
    delivery_count: int = 0
    cancel_requested_at: datetime | None = None
    output_path: str | None = None
    file_sha256: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    owner_user_id: str = ""
    sync: str = ""
    requested: Requested | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wakeup:
    """A message that a job waits: its id, and a label for people.

    The label goes through Redis and Flower, so it holds no more of the prompt than a short slug.
    """

    job_id: UUID
    label: str


class AttemptState(StrEnum):
    """``started``: nothing was sent. ``intended``: a paid call may have been sent.

    ``submitted``: the backend's id is known. The rest are final; ``late`` is the attempt of a
    worker that had lost its lease when the image came.
    """

    STARTED = "started"
    INTENDED = "intended"
    SUBMITTED = "submitted"
    DRAWN = "drawn"
    FAILED = "failed"
    CANCELED = "canceled"
    LATE = "late"


class AttemptDisposition(StrEnum):
    """What becomes of the attempt when its job goes back to the queue."""

    #: It failed; the next claim opens another.
    END = "end"
    #: Nothing was started: it begins again, and counts as the same try.
    REWIND = "rewind"
    #: It may be under way at the backend: the next claim resumes it.
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a job at a backend.

    ``id`` is imagen's own id, also sent outside (ComfyUI's prompt id); ``external_id`` is the
    backend's id; ``place`` is the server or account it was sent to.
    ``intent_age_s`` is how long ago, by the ledger's clock, a paid call was announced, and
    ``begun_age_s`` how long ago a call to any backend was.
    ``record`` is what it drew; None before, and where an older version drew it.
    """

    id: UUID
    job_id: UUID
    number: int
    backend: str
    state: AttemptState
    worker: str = ""
    external_id: str | None = None
    place: str = ""
    intent_age_s: float | None = None
    begun_age_s: float | None = None
    model: str | None = None
    seed: int | None = None
    steps: int | None = None
    cost_usd: Decimal | None = None
    cost_source: str | None = None
    latency_ms: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    record: DrawingRecord | None = None
    #: Whether what it drew goes into the usage table.
    is_metered: bool = True
    error_code: str | None = None
    error_message: str | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A job this process holds: every write it makes names owner and fence."""

    job: Job
    attempt: Attempt
    owner: str
    #: Seconds for which the backend, or a full disk, has made this job wait; 0 where neither has.
    limited_s: float = 0.0
    #: The attempt was begun by an earlier claim that did not finish it.
    resumed: bool = False


def record_of(job: Job, attempt: Attempt | None) -> DrawingRecord:
    """What was asked for and what the attempt drew.

    Without an image, or where an older version drew it, as much of it as is known: the request as
    it was fitted stands for what was drawn.
    """
    if attempt is not None and attempt.record is not None:
        return attempt.record
    request = job.request
    requested = job.requested or requested_of(request)
    drawn = attempt if attempt is not None and attempt.model is not None else None
    return DrawingRecord(
        requested=requested,
        width=request.width,
        height=request.height,
        model=drawn.model if drawn else None,
        seed=drawn.seed if drawn else request.seed,
        steps=drawn.steps if drawn else request.steps,
        negative=request.negative,
        warnings=requested.warnings,
    )
