"""When the embedded executor holds back, and for whom it does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING, Scope
from imagen.errors import LedgerUnavailable
from imagen.ledger.jobs.pauses import pause_backend
from imagen.ledger.store.engine import Ledger
from imagen.local.thread_work import DrawWork

DEADLINE_S = 60.0


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


def test_a_job_that_crashed_twice_is_drawn_alone(sqlite_desk: Any, start: Any, ear: Any) -> None:
    crashed = sqlite_desk.submit()
    for _ in range(2):
        sqlite_desk.crash(sqlite_desk.must_claim("dead"))
    others = [sqlite_desk.submit() for _ in range(6)]
    alone: list[bool] = []
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
    for _ in range(2):
        sqlite_desk.crash(sqlite_desk.must_claim("dead"))
    ids = [sqlite_desk.submit() for _ in range(4)]
    executor = start(sqlite_desk.ledger)
    wishes: list[None] = []
    executor.draw_work.isolated.gate.want_alone = lambda: wishes.append(None)  # type: ignore[method-assign]

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
    real = DrawWork.draw_one

    def count(*arguments: Any) -> bool:
        looks.append(None)
        return real(*arguments)

    monkeypatch.setattr(DrawWork, "draw_one", count)

    assert not executor.run(EVERYTHING, timeout_s=0.8)

    assert len(looks) < 10


def test_a_ledger_that_goes_away_ends_the_run_with_its_own_error(
    sqlite_desk: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_desk.submit()

    def be_away(*_: Any, **__: Any) -> None:
        raise LedgerUnavailable("the ledger is unreachable")

    monkeypatch.setattr("imagen.services.draw.draw.claim_job", be_away)

    executor = start(sqlite_desk.ledger)
    executor.ledger_patience_s = 0.0

    with pytest.raises(LedgerUnavailable, match="unreachable"):
        executor.run(EVERYTHING, timeout_s=DEADLINE_S)


def test_a_ledger_that_is_back_within_a_minute_ends_nothing(
    sqlite_desk: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [sqlite_desk.submit() for _ in range(3)]
    real = Ledger.read
    left = [30]

    @contextmanager
    def be_away_at_first(ledger: Any) -> Iterator[Any]:
        if left[0] and threading.current_thread() is not threading.main_thread():
            left[0] -= 1
            raise LedgerUnavailable("the ledger is unreachable")
        with real(ledger) as connection:
            yield connection

    monkeypatch.setattr(Ledger, "read", be_away_at_first)
    monkeypatch.setattr("imagen.local.local_executor._FIRST_PAUSE_S", 0.01)
    # The thread that delivers asks most often; thirty of its waits would take a minute.
    monkeypatch.setattr("imagen.local.thread_work._DELIVER_EVERY_S", 0.01)

    assert start(sqlite_desk.ledger).run(EVERYTHING, timeout_s=DEADLINE_S)

    assert left == [0]
    assert {sqlite_desk.state(each) for each in ids} == {JobState.SUCCEEDED}


def test_a_worker_without_a_broker_draws_whatever_comes(
    sqlite_desk: Any, start: Any, in_background: Any, ear: Any
) -> None:
    executor = start(sqlite_desk.ledger)
    executor.publisher.listener = ear
    thread = in_background(lambda: executor.run(EVERYTHING, forever=True))

    job_id = sqlite_desk.submit()
    ear.wait_for("succeeded")
    executor.stop()
    thread.join(DEADLINE_S)

    assert sqlite_desk.state(job_id) is JobState.SUCCEEDED


def test_sixteen_idle_threads_ask_the_ledger_hardly_more_often_than_one(
    sqlite_desk: Any, start: Any
) -> None:
    claims: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE jobs SET state='running'") or "lease_owner=?" in statement:
            claims.append(statement)

    event.listen(sqlite_desk.ledger.engine, "before_cursor_execute", note)
    sqlite_desk.submit()

    # Long enough for each of them to have asked six times, had it asked every half second.
    assert start(sqlite_desk.ledger, gpu=16, latency_ms=3000).run(EVERYTHING, timeout_s=DEADLINE_S)

    assert claims
    # Each once at the start, and one now and then.
    assert len(claims) < 2 * 16
