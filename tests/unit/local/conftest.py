"""Executors of one process each, with the mock backend, and an ear to hear what happens."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from imagen.backends.mock.backend import MockBackend
from imagen.backends.mock.settings import MockSettings
from imagen.local.local_executor import LocalExecutor
from imagen.local.local_publisher import LocalPublisher
from imagen.local.thread_work import DeliverWork, DrawWork
from imagen.local.upkeep import LocalUpkeep
from imagen.services.deliver.deliver import DeliveryService
from imagen.services.deliver.host_delivery import HostDelivery
from imagen.services.draw.circuit import Circuits
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.draw.draw import DrawService
from imagen.services.draw.isolation import IsolatedDrawing
from imagen.services.draw.retry_policy import RetryPolicy
from imagen.services.leases.clock import SystemClock
from imagen.services.leases.heartbeat import Heartbeat
from imagen.services.leases.lease_holder import LeaseHolder
from imagen.services.leases.process_lock import new_owner
from imagen.services.leases.reconcile import Reconciler

DEADLINE_S = 60.0


class Lookup:
    """The backends of a process."""

    def __init__(self, backends: Mapping[str, MockBackend]) -> None:
        self.backends = backends

    def get(self, name: str) -> Any:
        return self.backends[name]

    def sharing_account(self, name: str) -> list[str]:
        return [name]


class Ear:
    """Hears what happens."""

    def __init__(self) -> None:
        self.outcomes: list[ClaimOutcome] = []
        self.events: list[tuple[UUID, Mapping[str, object]]] = []
        self.pauses: list[tuple[str, str]] = []
        self.outages: list[tuple[str, str]] = []
        self.on_event_do: Callable[[Mapping[str, object]], None] = lambda _event: None

    def on_outcome(self, outcome: ClaimOutcome) -> None:
        self.outcomes.append(outcome)

    def on_event(self, job_id: UUID, event: Mapping[str, object]) -> None:
        self.events.append((job_id, event))
        self.on_event_do(event)

    def on_pause(self, backend: str, reason: str) -> None:
        self.pauses.append((backend, reason))

    def on_unreachable(self, backend: str, reason: str) -> None:
        self.outages.append((backend, reason))

    def on_missing_worker(self, queue: str) -> None:
        raise AssertionError(f"there are no workers here, not for {queue} either")

    def wait_for(self, name: str) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not any(event["event"] == name for _, event in list(self.events)):
            assert time.monotonic() < deadline_s, f"nothing was heard of {name!r}"
            time.sleep(0.005)


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Callable[..., LocalExecutor]:
    """A function that makes the executor of one process; everything it starts is stopped."""

    def make(
        ledger: Any,
        *,
        ear: Ear | None = None,
        gpu: int = 2,
        max_artifact_bytes: int = 10**9,
        max_attempts: int = 4,
        lease_s: float = 30.0,
        check_s: float = 0.05,
        **settings: Any,
    ) -> LocalExecutor:
        clock, owner = SystemClock(), new_owner("here")
        backend = MockBackend("mock", MockSettings(**settings), {})
        request.addfinalizer(backend.close)
        publisher = LocalPublisher(listener=ear)
        heartbeat = Heartbeat(ledger, owner, lease_s, lease_s / 3, clock)
        request.addfinalizer(heartbeat.stop)
        heartbeat.start()
        policy = RetryPolicy(max_attempts, backoff_base_s=0.01, backoff_max_s=0.02)
        lookup = Lookup({"mock": backend, "other": backend})
        drawing = DrawService(
            ledger,
            lookup,
            heartbeat,
            publisher,
            clock,
            policy,
            Circuits(lookup.get, clock, check_s=check_s),
        )
        holder = LeaseHolder(owner, "here", lease_s)
        draw_work = DrawWork(IsolatedDrawing(drawing), holder, publisher)
        reconciler = Reconciler(ledger, owner, clock, 5, Path.cwd() / "owners")
        delivery = DeliveryService(ledger, heartbeat, publisher, clock)
        return LocalExecutor(
            ledger,
            clock,
            publisher,
            heartbeat,
            drawing.circuits,
            LocalUpkeep(reconciler, draw_work, ["gpu"], max_artifact_bytes, clock),
            {"gpu": gpu},
            draw_work,
            DeliverWork(HostDelivery(delivery, holder), publisher),
        )

    return make


@pytest.fixture
def in_background(request: pytest.FixtureRequest) -> Callable[..., threading.Thread]:
    """A function that runs something in a thread; the thread is waited for in the end."""

    def begin(work: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=work)
        thread.start()
        request.addfinalizer(lambda: thread.join(DEADLINE_S))
        return thread

    return begin


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.getLogger("imagen").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("imagen").setLevel(logging.NOTSET)


@pytest.fixture
def ear() -> Ear:
    return Ear()
