"""Protocols of what the services call: backends, messages, limits, clocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from imagen.domain.cost import Bill, Cost
from imagen.domain.drawn import Drawn, Fitted, Health, Work
from imagen.domain.job import Attempt, Job, Wakeup
from imagen.domain.request import ImageRequest


class AlreadyOwned(Exception):
    """The external id belongs to another attempt: this one must look for its own."""


class Run(Protocol):
    """One attempt as its backend sees it. A simple adapter may ignore all of it."""

    @property
    def attempt_id(self) -> UUID:
        """Committed before the backend is called; the same again when the attempt is resumed."""

    @property
    def previous(self) -> Attempt | None:
        """The same attempt as an earlier worker left it; None in its first run."""

    def intend(self, *, timeout_s: float) -> None:
        """Commit, synced, that a paid call is about to be sent; call it right before sending.

        Raises:
            LeaseLost: the lease may run out before ``timeout_s`` is over, or the attempt has an id
                by now, from an earlier worker whose call was answered late; so do not send.
        """

    def submitted(self, external_id: str, *, place: str = "") -> None:
        """Commit, synced, the backend's own id; call it as soon as it is known.

        Raises:
            AlreadyOwned: another attempt has this id at this place.
            LeaseLost: another worker holds the job now, and knows this id; stop.
        """

    def adopted(self, external_id: str, *, place: str = "") -> None:
        """As ``submitted``, for an id that was found at the backend and may be another attempt's.

        Raises:
            AlreadyOwned, LeaseLost: as ``submitted``; without the lease it is not committed.
        """

    def billed(self, bill: Bill) -> None:
        """Report what the attempt costs once it is drawn, before its image is fetched.

        Where the attempt ends without its image, this goes into the usage table all the same.
        Cheap: it does not commit.
        """

    def progress(self, done: int, total: int, *, phase: str = "") -> None:
        """Report that ``done`` of ``total`` steps are over. Cheap; may be called often.

        ``phase`` describes work between steps in a few words, such as ``loading flux1-dev``; it is
        shown instead of the steps.

        Raises:
            JobCanceled: the job was canceled; stop the backend and let this error pass.
            LeaseLost: another worker holds the job now; stop without touching the backend.
        """

    def lease_left_s(self) -> float:
        """Seconds until this worker's lease may run out, by this host's boot-time clock."""


class Backend(Protocol):
    """A configured instance of an adapter. Threads share it."""

    #: Drawing again costs nothing, so an unknown outcome may simply be drawn again.
    repeat_is_free: bool
    #: Backends with the same account share its credit; None where it costs nothing.
    account: str | None
    #: Whether its images go into the usage table; false for a mock.
    is_metered: bool

    def fit(self, request: ImageRequest) -> Fitted:
        """The request as it will be drawn, defaults filled in; called at submission, no I/O.

        Raises:
            RequestError: this backend cannot draw it, even with other values.
        """

    def generate(self, request: ImageRequest, run: Run) -> Drawn:
        """One image. Blocks until it is drawn, refused, or out of time.

        Raises:
            BackendError: ``imagen.errors`` says what each class means to the queue.
            JobCanceled, LeaseLost: passed through from ``run``.
        """

    def estimate(self, request: ImageRequest) -> Cost:
        """What one image would cost, by local knowledge alone."""

    def affinity(self, request: ImageRequest) -> str | None:
        """The model that must be loaded; None where that does not matter."""

    def check(self) -> Health:
        """Whether it can draw now. Free of charge, under 5 s, never raises."""

    def cancel(self, external_id: str) -> Bill | None:
        """Stop a submitted attempt. Idempotent; an unknown id is no error.

        Returns what the attempt costs where the image was drawn before it could be stopped.

        Raises:
            BackendUnavailable: it may still run; call this again.
        """

    def forget(self, external_id: str) -> None:
        """The image is safe in the ledger, so the server may drop its copy. Best effort."""

    def close(self) -> None:
        """Close connections. The backend is not used afterwards."""


class BackendLookup(Protocol):
    """The configured backends, by name."""

    def get(self, name: str) -> Backend: ...

    def sharing_account(self, name: str) -> list[str]: ...


class Limiter(Protocol):
    """A rate limit that workers share."""

    def wait(self, key: str, limits: tuple[str, ...], *, timeout_s: float) -> None:
        """Block until one more call under ``key`` fits ``limits`` (such as ``600/minute``).

        Raises:
            RateLimited: it would not fit within ``timeout_s`` seconds.
        """


class Durations(Protocol):
    """How long a backend's attempts took lately."""

    def expected_s(self, backend: str, work: Work | None = None) -> float | None:
        """The median of the last few drawn attempts, in seconds, or None when unknown.

        With ``work`` only those of that kind count.
        """


class AttemptIndex(Protocol):
    """Which provider ids already belong to an attempt, so that no attempt takes another's."""

    def owned(self, place: str, external_ids: tuple[str, ...]) -> frozenset[str]:
        """Those of ``external_ids`` at ``place`` that an attempt has already."""


class Publisher(Protocol):
    """Messages between processes. Each is a wake-up: a lost or doubled one does no harm."""

    def wake_workers(self, queue: str, wakeups: Sequence[Wakeup]) -> None:
        """Send a wake-up for each of these jobs.

        Raises:
            BrokerUnavailable: the messages could not be sent; the jobs are in the ledger.
        """

    def wake_results(self, host: str) -> None:
        """Wake the results worker of ``host`` for a generated job; never raises."""

    def wake_outbox(self, host: str) -> None:
        """Wake it for items to be sent to Supabase; never raises."""

    def announce(self, job: Job, event: Mapping[str, object]) -> None:
        """Publish an event of the job to the processes that wait for it; never raises."""


class Clock(Protocol):
    """A clock that goes on while the machine is suspended, and sleeping."""

    def boottime_s(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...
