"""The embedded executor: draws and delivers what a command named, in threads of its process."""

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
from imagen.domain.job import JobState
from imagen.errors import LedgerUnavailable, OutOfCredit
from imagen.ledger.control import pause_backend, paused_backends, request_cancel
from imagen.ledger.leases import lease_owners
from imagen.ledger.scope import EVERYTHING, Scope
from imagen.ledger.submit import open_batch
from imagen.local import LocalExecutor, LocalPublisher
from imagen.services.clock import SystemClock
from imagen.services.deliver import Delivery
from imagen.services.generate import Drawing, Outcome
from imagen.services.heartbeat import Heartbeat
from imagen.services.presence import new_owner
from imagen.services.reconcile import Reconciler
from imagen.services.retry_policy import RetryPolicy

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
        self.outcomes: list[Outcome] = []
        self.events: list[tuple[UUID, Mapping[str, object]]] = []
        self.on_event_do: Callable[[Mapping[str, object]], None] = lambda _event: None

    def on_outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def on_event(self, job_id: UUID, event: Mapping[str, object]) -> None:
        self.events.append((job_id, event))
        self.on_event_do(event)

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
        return LocalExecutor(
            ledger=ledger,
            drawing=Drawing(ledger, lookup, heartbeat, publisher, clock, policy),
            delivery=Delivery(ledger, heartbeat, publisher, clock),
            heartbeat=heartbeat,
            reconciler=Reconciler(ledger, owner, clock, 5, Path.cwd() / "owners"),
            publisher=publisher,
            clock=clock,
            owner=owner,
            host="here",
            lease_s=lease_s,
            concurrency={"gpu": gpu},
            max_artifact_bytes=max_artifact_bytes,
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


def images(desk: Any) -> list[str]:
    return sorted(path.name for path in desk.folder.glob("*.png"))


def test_a_run_ends_when_all_that_was_named_is_drawn_and_delivered(desk: Any, start: Any) -> None:
    ids = [desk.submit() for _ in range(20)]

    assert start(desk.ledger).run(Scope(job_ids=tuple(ids)), timeout_s=DEADLINE_S)

    assert {desk.state(job_id) for job_id in ids} == {JobState.SUCCEEDED}
    assert len(images(desk)) == 20
    assert desk.artifact_rows() == []
    assert lease_owners(desk.ledger) == set()


def test_a_run_with_nothing_to_do_ends_at_once(sqlite_desk: Any, start: Any) -> None:
    assert start(sqlite_desk.ledger).run(Scope(job_ids=()), timeout_s=DEADLINE_S)


def test_other_peoples_jobs_are_left_alone(sqlite_desk: Any, start: Any) -> None:
    left_over = sqlite_desk.submit()
    named = sqlite_desk.submit()

    assert start(sqlite_desk.ledger).run(Scope(job_ids=(named,)), timeout_s=DEADLINE_S)

    assert sqlite_desk.state(left_over) is JobState.QUEUED
    assert sqlite_desk.state(named) is JobState.SUCCEEDED


def test_other_peoples_images_are_not_delivered_either(sqlite_desk: Any, start: Any) -> None:
    left_over = sqlite_desk.generated()
    named = sqlite_desk.submit()

    assert start(sqlite_desk.ledger).run(Scope(job_ids=(named,)), timeout_s=DEADLINE_S)

    assert sqlite_desk.state(left_over) is JobState.GENERATED


def test_what_an_earlier_run_drew_is_delivered(sqlite_desk: Any, start: Any) -> None:
    job_id = sqlite_desk.generated()

    assert start(sqlite_desk.ledger).run(Scope(job_ids=(job_id,)), timeout_s=DEADLINE_S)

    assert len(images(sqlite_desk)) == 1


def test_two_processes_share_a_batch_and_draw_nothing_twice(
    desk: Any, start: Any, another_process: Any, in_background: Any, tmp_path: Path
) -> None:
    batch = open_batch(desk.ledger, "prompts", name="prompts")
    for number in range(40):
        desk.submit(
            batch_id=batch.id,
            run=1,
            dedupe_key=str(number),
            request=desk.request(seed=number + 1),
        )
    scope = Scope(batch_id=batch.id, run=1)
    log = tmp_path / "calls"
    ends: list[bool] = []
    executors = [
        start(ledger, calls_log=log, latency_ms=5)
        for ledger in (desk.ledger, another_process(desk.ledger))
    ]

    threads = [
        in_background(lambda each=each: ends.append(each.run(scope, timeout_s=DEADLINE_S)))
        for each in executors
    ]
    for thread in threads:
        thread.join()

    assert ends == [True, True]
    assert len(images(desk)) == 40
    seeds = [line.split("\t")[1] for line in log.read_text().splitlines()]
    assert sorted(seeds, key=int) == [str(number + 1) for number in range(40)]


def test_a_failed_job_ends_the_wait_for_it(sqlite_desk: Any, start: Any) -> None:
    job_id = sqlite_desk.submit()
    ear = Ear()

    executor = start(sqlite_desk.ledger, ear=ear, reject=True)
    assert executor.run(Scope(job_ids=(job_id,)), timeout_s=DEADLINE_S)

    assert sqlite_desk.state(job_id) is JobState.FAILED
    [outcome] = ear.outcomes
    assert (outcome.state, outcome.error.code) == (JobState.FAILED, "backend_rejected")


def test_a_backend_that_fails_at_first_is_tried_again(sqlite_desk: Any, start: Any) -> None:
    job_id = sqlite_desk.submit()

    executor = start(sqlite_desk.ledger, fail_first=2)
    assert executor.run(Scope(job_ids=(job_id,)), timeout_s=DEADLINE_S)

    assert sqlite_desk.state(job_id) is JobState.SUCCEEDED
    assert len(sqlite_desk.attempts(job_id)) == 3


def test_a_rate_limit_is_waited_for(sqlite_desk: Any, start: Any) -> None:
    job_id = sqlite_desk.submit()

    executor = start(sqlite_desk.ledger, rate_limit_first=2, retry_after_s=0.0)
    assert executor.run(Scope(job_ids=(job_id,)), timeout_s=DEADLINE_S)

    assert sqlite_desk.state(job_id) is JobState.SUCCEEDED
    assert len(sqlite_desk.attempts(job_id)) == 1


def test_an_empty_account_ends_the_run_and_keeps_the_jobs(sqlite_desk: Any, start: Any) -> None:
    ids = [sqlite_desk.submit() for _ in range(3)]

    with pytest.raises(OutOfCredit):
        start(sqlite_desk.ledger, out_of_credit=True).run(
            Scope(job_ids=tuple(ids)), timeout_s=DEADLINE_S
        )

    assert {sqlite_desk.state(job_id) for job_id in ids} == {JobState.QUEUED}
    assert list(paused_backends(sqlite_desk.ledger)) == ["mock"]


def test_a_run_gives_up_when_its_time_is_over_and_gives_back_what_it_held(
    sqlite_desk: Any, start: Any
) -> None:
    job_id = sqlite_desk.submit()

    executor = start(sqlite_desk.ledger, hang_if_contains="fox")
    assert not executor.run(Scope(job_ids=(job_id,)), timeout_s=0.05)

    job = sqlite_desk.job(job_id)
    assert (job.state, job.lease_owner, job.crash_count) == (JobState.QUEUED, None, 0)


def test_stopping_gives_back_what_runs_with_its_external_id(
    desk: Any, start: Any, in_background: Any
) -> None:
    job_id = desk.submit()
    waiting = desk.submit()
    ear = Ear()
    executor = start(desk.ledger, ear=ear, gpu=1, hang_if_contains="fox", cost_usd="0.003")
    thread = in_background(lambda: executor.run(EVERYTHING))
    ear.wait_for("progress")

    executor.stop()
    thread.join(DEADLINE_S)

    assert not thread.is_alive()
    assert desk.state(waiting) is JobState.QUEUED
    job = desk.job(job_id)
    assert (job.state, job.lease_owner, job.crash_count) == (JobState.QUEUED, None, 0)
    [attempt] = desk.attempts(job_id)
    assert attempt.external_id == f"mock-{attempt.id}"


def test_stopping_with_grace_lets_what_runs_finish(
    sqlite_desk: Any, start: Any, in_background: Any
) -> None:
    ids = [sqlite_desk.submit() for _ in range(2)]
    ear = Ear()
    executor = start(sqlite_desk.ledger, ear=ear, gpu=1, latency_ms=300)
    thread = in_background(lambda: executor.run(EVERYTHING))
    ear.wait_for("progress")

    executor.stop(grace_s=DEADLINE_S)
    thread.join(DEADLINE_S)

    assert sqlite_desk.state(ids[0]) in (JobState.GENERATED, JobState.SUCCEEDED)
    assert sqlite_desk.state(ids[1]) is JobState.QUEUED


def test_a_stop_from_a_callback_does_not_lock_up(sqlite_desk: Any, start: Any) -> None:
    for _ in range(5):
        sqlite_desk.submit()
    ear = Ear()
    executor = start(sqlite_desk.ledger, ear=ear)
    ear.on_event_do = lambda _event: executor.stop()

    executor.run(EVERYTHING, timeout_s=DEADLINE_S)

    assert lease_owners(sqlite_desk.ledger) == set()


def test_a_killed_run_is_taken_up_at_once(sqlite_desk: Any, start: Any) -> None:
    from imagen.services import presence

    left = presence.enter(Path.cwd() / "owners", "dead")
    drawing, delivering = sqlite_desk.submit(), sqlite_desk.submit()
    sqlite_desk.must_claim("dead")
    claim = sqlite_desk.must_claim("dead")
    sqlite_desk.generate(claim)
    sqlite_desk.set(delivering, lease_owner="dead", lease_expires_at=claim.job.lease_expires_at)
    import os

    os.close(left.handle)

    assert start(sqlite_desk.ledger).run(EVERYTHING, timeout_s=DEADLINE_S)

    assert sqlite_desk.state(drawing) is JobState.SUCCEEDED
    assert sqlite_desk.state(delivering) is JobState.SUCCEEDED


def test_a_cancel_stops_a_hanging_job(sqlite_desk: Any, start: Any, in_background: Any) -> None:
    job_id = sqlite_desk.submit()
    ear = Ear()
    executor = start(sqlite_desk.ledger, ear=ear, hang_if_contains="fox", lease_s=1.0)
    thread = in_background(lambda: executor.run(EVERYTHING, timeout_s=DEADLINE_S))
    ear.wait_for("progress")

    request_cancel(sqlite_desk.ledger, EVERYTHING)
    thread.join(DEADLINE_S)

    assert sqlite_desk.state(job_id) is JobState.CANCELED


def test_drawing_stops_while_too_much_waits_for_delivery(sqlite_desk: Any, start: Any) -> None:
    ids = [sqlite_desk.submit() for _ in range(3)]
    waiting = sqlite_desk.must_claim()
    sqlite_desk.generate(waiting, data=b"x" * 2000)
    # Its delivery is not due for an hour.
    sqlite_desk.set(waiting.job.id, not_before=waiting.job.lease_expires_at.replace(year=2100))

    executor = start(sqlite_desk.ledger, max_artifact_bytes=1000)
    assert not executor.run(EVERYTHING, timeout_s=1.0)

    assert [sqlite_desk.state(job_id) for job_id in ids[1:]] == [JobState.QUEUED] * 2


def test_drawing_goes_on_when_the_deliveries_have_caught_up(sqlite_desk: Any, start: Any) -> None:
    ids = [sqlite_desk.submit() for _ in range(10)]

    executor = start(sqlite_desk.ledger, max_artifact_bytes=1)
    assert executor.run(EVERYTHING, timeout_s=DEADLINE_S)

    assert {sqlite_desk.state(job_id) for job_id in ids} == {JobState.SUCCEEDED}


def test_images_that_this_command_does_not_deliver_do_not_stop_it(
    sqlite_desk: Any, start: Any
) -> None:
    sqlite_desk.generated()
    named = sqlite_desk.submit()

    executor = start(sqlite_desk.ledger, max_artifact_bytes=1)
    assert executor.run(Scope(job_ids=(named,)), timeout_s=DEADLINE_S)


def test_a_job_that_crashed_before_is_drawn_alone(sqlite_desk: Any, start: Any) -> None:
    crashed = sqlite_desk.submit()
    sqlite_desk.crash(sqlite_desk.must_claim("dead"))
    others = [sqlite_desk.submit() for _ in range(6)]
    alone: list[bool] = []
    ear = Ear()
    executor = start(sqlite_desk.ledger, ear=ear, gpu=3, latency_ms=20)

    def look(event: Mapping[str, object]) -> None:
        if event["event"] != "running":
            return
        running = [
            lease.claim.job.id
            for lease in executor.heartbeat.held()
            if lease.claim.job.state is JobState.RUNNING
        ]
        if crashed in running:
            alone.append(running == [crashed])

    ear.on_event_do = look
    assert executor.run(EVERYTHING, timeout_s=DEADLINE_S)

    assert alone
    assert all(alone)
    assert {sqlite_desk.state(each) for each in [crashed, *others]} == {JobState.SUCCEEDED}


def test_somebody_elses_crashed_job_does_not_make_this_command_wait(
    sqlite_desk: Any, start: Any
) -> None:
    sqlite_desk.submit()
    sqlite_desk.crash(sqlite_desk.must_claim("dead"))
    ids = [sqlite_desk.submit() for _ in range(4)]
    executor = start(sqlite_desk.ledger)
    wishes: list[None] = []
    executor._crowd.want_alone = lambda: wishes.append(None)  # type: ignore[method-assign]

    assert executor.run(Scope(job_ids=tuple(ids)), timeout_s=DEADLINE_S)

    assert wishes == []


def test_waiting_for_a_paused_backend_does_not_spin(
    sqlite_desk: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = sqlite_desk.submit()
    pause_backend(sqlite_desk.ledger, "mock", reason="by hand", pause_s=None)
    # It was put off, and its time has come; only the pause keeps it.
    claim_time = sqlite_desk.row(job_id).created_at
    sqlite_desk.set(job_id, not_before=claim_time)
    executor = start(sqlite_desk.ledger, gpu=1)
    looks: list[None] = []
    real = executor._draw_one

    def count(claimant: Any) -> bool:
        looks.append(None)
        return real(claimant)

    monkeypatch.setattr(executor, "_draw_one", count)

    assert not executor.run(EVERYTHING, timeout_s=0.8)

    assert len(looks) < 10


def test_a_ledger_that_goes_away_ends_the_run_with_its_own_error(
    sqlite_desk: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_desk.submit()

    def be_away(*_: Any, **__: Any) -> None:
        raise LedgerUnavailable("the ledger is unreachable")

    monkeypatch.setattr("imagen.services.generate.claim_job", be_away)

    with pytest.raises(LedgerUnavailable, match="unreachable"):
        start(sqlite_desk.ledger).run(EVERYTHING, timeout_s=DEADLINE_S)


def test_a_worker_without_a_broker_draws_whatever_comes(
    sqlite_desk: Any, start: Any, in_background: Any
) -> None:
    executor = start(sqlite_desk.ledger)
    ear = Ear()
    executor.publisher.listener = ear
    thread = in_background(lambda: executor.run(EVERYTHING, forever=True))

    job_id = sqlite_desk.submit()
    ear.wait_for("succeeded")
    executor.stop()
    thread.join(DEADLINE_S)

    assert sqlite_desk.state(job_id) is JobState.SUCCEEDED
