"""A studio: the services around one ledger, with a backend that follows a script."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from imagen.backends.mock.drawing import draw_request
from imagen.domain.cost import FREE, Bill, Cost
from imagen.domain.drawn import Drawn, Fitted, Health
from imagen.domain.job import JobState
from imagen.domain.request import ImageRequest
from imagen.domain.scope import EVERYTHING
from imagen.errors import RequestError
from imagen.ledger.jobs.cancel_and_retry import request_cancel
from imagen.services.deliver.deliver import DeliveryService
from imagen.services.deliver.full_disks import FullDisks
from imagen.services.draw.circuit import Circuits
from imagen.services.draw.draw import DrawService
from imagen.services.draw.retry_policy import RetryPolicy
from imagen.services.leases.heartbeat import Heartbeat
from imagen.services.leases.reconcile import Reconciler

LEASE_S = 30.0


class ManualClock:
    """Time passes only by ``sleep``."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []

    def boottime_s(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


class ScriptedBackend:
    """Draws, unless the next step of its script says otherwise."""

    def __init__(self, *, free: bool = True) -> None:
        self.repeat_is_free = free
        self.is_metered = True
        self.account: str | None = None if free else "the account"
        #: Each an error to raise, or a function of (request, run) that draws.
        self.script: list[Any] = []
        self.calls: list[UUID] = []
        self.canceled: list[str] = []
        self.forgotten: list[str] = []
        self.cancel_raises: BaseException | None = None
        self.cancel_finds: Bill | None = None
        self.model: str | None = None
        self.cost = FREE
        self.refuses: RequestError | None = None
        self.health = Health("ok")
        self.checks = 0

    def fit(self, request: ImageRequest) -> Fitted:
        if self.refuses is not None:
            raise self.refuses
        return Fitted(request)

    def generate(self, request: ImageRequest, run: Any) -> Drawn:
        self.calls.append(run.attempt_id)
        step = self.script.pop(0) if self.script else None
        if isinstance(step, BaseException):
            raise step
        if step is not None:
            found = step(request, run)
            if found is not None:
                return found
        return self.picture(request)

    def picture(self, request: ImageRequest) -> Drawn:
        return Drawn(draw_request(request), "landscape", request.seed, 4, self.cost)

    def estimate(self, _request: ImageRequest) -> Cost:
        return self.cost

    def affinity(self, _request: ImageRequest) -> str | None:
        return self.model

    def check(self) -> Health:
        self.checks += 1
        return self.health

    def cancel(self, external_id: str) -> Bill | None:
        self.canceled.append(external_id)
        if self.cancel_raises is not None:
            raise self.cancel_raises
        return self.cancel_finds

    def forget(self, external_id: str) -> None:
        self.forgotten.append(external_id)

    def close(self) -> None:
        pass


class Backends:
    """A lookup over some backends that all use the queue ``gpu``."""

    def __init__(self, **backends: ScriptedBackend) -> None:
        self.by_name = backends

    def get(self, name: str) -> ScriptedBackend:
        if name not in self.by_name:
            raise RequestError(f"unknown backend {name!r}", "see: imagen backends")
        return self.by_name[name]

    def queue_of(self, name: str) -> str:
        self.get(name)
        return "gpu"

    def sharing_account(self, name: str) -> list[str]:
        account = self.get(name).account
        others = [
            each
            for each, backend in self.by_name.items()
            if account and backend.account == account and each != name
        ]
        return [name, *others]


class Recorder:
    """A publisher that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[UUID, Mapping[str, object]]] = []
        self.woken_queues: list[str] = []
        self.woken_hosts: list[str] = []

    def wake_workers(self, queue: str, _wakeups: Any) -> None:
        self.woken_queues.append(queue)

    def wake_outbox(self, host: str) -> None:
        return None

    def wake_results(self, host: str) -> None:
        self.woken_hosts.append(host)

    def announce_cancel(self) -> None:
        return None

    def announce(self, job: Any, event: Mapping[str, object]) -> None:
        self.events.append((job.id, event))

    def names(self, job_id: UUID) -> list[object]:
        return [event["event"] for each, event in self.events if each == job_id]


@dataclass
class Studio:
    """The services of one process (or of several, by owner) at one desk."""

    desk: Any
    backend: ScriptedBackend = field(default_factory=ScriptedBackend)
    publisher: Recorder = field(default_factory=Recorder)
    clock: ManualClock = field(default_factory=ManualClock)
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    allowed_dirs: list[Path] | None = None
    full_disks: FullDisks = field(default_factory=FullDisks)
    sends_usage: bool = False

    def __post_init__(self) -> None:
        self.backends = Backends(mock=self.backend)
        self._circuits: dict[str, Circuits] = {}

    def circuits(self, owner: str = "one") -> Circuits:
        """Those of a process; they are checked when a test says so."""
        if owner not in self._circuits:
            self._circuits[owner] = Circuits(self.backends.get, self.clock)
        return self._circuits[owner]

    def heartbeat(self, owner: str) -> Heartbeat:
        return Heartbeat(self.desk.ledger, owner, LEASE_S, LEASE_S / 3, self.clock)

    def draw(self, owner: str = "one", *, heartbeat: Heartbeat | None = None) -> Any:
        drawing = DrawService(
            self.desk.ledger,
            self.backends,
            heartbeat or self.heartbeat(owner),
            self.publisher,
            self.clock,
            self.policy,
            self.circuits(owner),
            sends_usage=self.sends_usage,
        )
        return drawing.draw_next(self.desk.claimant(owner))

    def submit_and_die(self) -> UUID:
        """A job that a worker has sent when it dies, and that is canceled then."""
        job_id: UUID = self.desk.submit()

        def die(_request: Any, run: Any) -> None:
            run.submitted("paid-1", place="shop")
            raise SystemExit

        self.backend.script = [die]
        with pytest.raises(SystemExit):
            self.draw("dead")
        request_cancel(self.desk.ledger, EVERYTHING)
        if self.desk.state(job_id) is JobState.RUNNING:
            self.desk.crash(self.desk.job_claim(job_id))
        return job_id

    def deliver(self, owner: str = "one", *, host: str = "here", **how: Any) -> Any:
        delivery = DeliveryService(
            self.desk.ledger,
            self.heartbeat(owner),
            self.publisher,
            self.clock,
            allowed_dirs=self.allowed_dirs,
            full_disks=self.full_disks,
            **how,
        )
        return delivery.deliver_next(self.desk.claimant(owner), host=host)

    def reconciler(self, owner: str = "one", *, max_crashes: int = 5) -> Reconciler:
        return Reconciler(self.desk.ledger, owner, self.clock, max_crashes, Path.cwd() / "owners")

    def be_due(self, job_id: UUID) -> None:
        """The time has come for a job that was put off."""
        self.desk.set(job_id, not_before=None)

    def files(self) -> list[str]:
        """Everything in the output folder, hidden or not."""
        folder: Path = self.desk.folder
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def sidecar(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.desk.folder / name).read_text())
        return content


@pytest.fixture
def studio(desk: Any) -> Studio:
    """A studio on each database."""
    return Studio(desk)


@pytest.fixture
def sqlite_studio(sqlite_desk: Any) -> Studio:
    """For rules that have nothing to do with the database."""
    return Studio(sqlite_desk)


@pytest.fixture
def paid_studio(sqlite_desk: Any) -> Studio:
    """A studio whose backend costs money."""
    return Studio(sqlite_desk, ScriptedBackend(free=False))


@pytest.fixture
def make_backend() -> Callable[..., ScriptedBackend]:
    return ScriptedBackend


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
