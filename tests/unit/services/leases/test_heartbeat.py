"""One thread keeps the leases of a process, and learns what became of its jobs."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING
from imagen.errors import JobCanceled, LeaseLost, LedgerUnavailable
from imagen.ledger.jobs.cancel_and_retry import request_cancel
from imagen.services.leases.clock import SystemClock
from imagen.services.leases.heartbeat import Heartbeat, give_back_all

DEADLINE_S = 20


def test_a_beat_renews_what_is_held(studio: Any) -> None:
    job_id = studio.desk.submit()
    heartbeat = studio.heartbeat("one")
    claim = studio.desk.must_claim("one")
    with heartbeat.holding([claim], claimed_at_s=studio.clock.now_s) as [lease]:
        studio.desk.expire(job_id)
        before = studio.desk.row(job_id).lease_expires_at
        studio.clock.sleep(20)
        assert lease.left_s() == 10

        heartbeat.beat()

        assert studio.desk.row(job_id).lease_expires_at > before
        assert lease.left_s() == 30
        lease.check()


def test_a_job_that_somebody_else_holds_is_lost(studio: Any) -> None:
    studio.desk.submit()
    heartbeat = studio.heartbeat("one")
    claim = studio.desk.must_claim("one")
    with heartbeat.holding([claim], claimed_at_s=studio.clock.now_s) as [lease]:
        studio.desk.crash(claim)
        studio.desk.must_claim("two")

        heartbeat.beat()

        with pytest.raises(LeaseLost):
            lease.check()


def test_a_job_taken_back_and_claimed_again_by_this_process_is_lost_to_its_first_thread(
    studio: Any,
) -> None:
    studio.desk.submit()
    heartbeat = studio.heartbeat("one")
    claim = studio.desk.must_claim("one")
    with heartbeat.holding([claim], claimed_at_s=studio.clock.now_s) as [old]:
        studio.desk.crash(claim)
        again = studio.desk.must_claim("one")
        heartbeat.beat()
        with heartbeat.holding([again], claimed_at_s=studio.clock.now_s) as [new]:
            heartbeat.beat()

            assert old.is_lost
            assert not new.is_lost
    assert heartbeat.held() == []


def test_the_end_of_an_old_hold_does_not_end_the_new_one(sqlite_studio: Any) -> None:
    sqlite_studio.desk.submit()
    heartbeat = sqlite_studio.heartbeat("one")
    claim = sqlite_studio.desk.must_claim("one")
    with heartbeat.holding([claim], claimed_at_s=0.0):
        sqlite_studio.desk.crash(claim)
        inner = heartbeat.holding([sqlite_studio.desk.must_claim("one")], claimed_at_s=0.0)
        [new] = inner.__enter__()

    assert heartbeat.held() == [new]
    inner.__exit__(None, None, None)


def test_a_cancel_is_learned_at_the_next_beat(studio: Any) -> None:
    studio.desk.submit()
    heartbeat = studio.heartbeat("one")
    claim = studio.desk.must_claim("one")
    with heartbeat.holding([claim], claimed_at_s=studio.clock.now_s) as [lease]:
        request_cancel(studio.desk.ledger, EVERYTHING)
        lease.check()

        heartbeat.beat()

        with pytest.raises(JobCanceled):
            lease.check()


def test_a_claim_made_during_a_beat_is_not_judged_by_it(
    sqlite_studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = sqlite_studio
    studio.desk.submit()
    studio.desk.submit()
    heartbeat = studio.heartbeat("one")
    from imagen.services.leases import heartbeat as module

    holds: list[Any] = []
    real = module.renew_leases

    def renew_while_claiming(*args: Any, **options: Any) -> Any:
        # The renewal has been answered; only then does the claim arrive.
        answer = real(*args, **options)
        claim = studio.desk.must_claim("one")
        holds.append(heartbeat.holding([claim], claimed_at_s=studio.clock.now_s))
        holds.append(holds[0].__enter__()[0])
        return answer

    with heartbeat.holding([studio.desk.must_claim("one")], claimed_at_s=studio.clock.now_s):
        monkeypatch.setattr(module, "renew_leases", renew_while_claiming)
        heartbeat.beat()

    assert not holds[1].is_lost
    holds[0].__exit__(None, None, None)


def test_with_nothing_held_nothing_is_sent(sqlite_studio: Any) -> None:
    sqlite_studio.desk.ledger.close()
    sqlite_studio.desk.ledger.path.unlink()

    sqlite_studio.heartbeat("one").beat()

    assert not sqlite_studio.desk.ledger.path.exists()


def test_an_unanswered_beat_judges_nothing(
    sqlite_studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_studio.desk.submit()
    heartbeat = sqlite_studio.heartbeat("one")
    claim = sqlite_studio.desk.must_claim("one")

    def be_away(*_: Any, **__: Any) -> None:
        raise LedgerUnavailable("away")

    monkeypatch.setattr("imagen.services.leases.heartbeat.renew_leases", be_away)
    with heartbeat.holding([claim], claimed_at_s=sqlite_studio.clock.now_s) as [lease]:
        with pytest.raises(LedgerUnavailable):
            heartbeat.beat()

        lease.check()


def test_the_thread_beats_on_whatever_is_raised(sqlite_studio: Any) -> None:
    beats = threading.Semaphore(0)

    def raise_something() -> None:
        beats.release()
        raise ZeroDivisionError

    heartbeat = Heartbeat(
        sqlite_studio.desk.ledger, "one", 30.0, 0.01, SystemClock(), on_beat=raise_something
    )
    heartbeat.start()
    try:
        assert all(beats.acquire(timeout=DEADLINE_S) for _ in range(3))
    finally:
        heartbeat.stop()
    heartbeat.stop()


def test_the_thread_keeps_a_short_lease_alive(studio: Any) -> None:
    job_id = studio.desk.submit()
    beats = threading.Semaphore(0)
    heartbeat = Heartbeat(
        studio.desk.ledger, "one", 0.5, 0.05, SystemClock(), on_beat=beats.release
    )
    claim = studio.desk.must_claim("one", lease_s=0.5)
    with heartbeat.holding([claim], claimed_at_s=SystemClock().boottime_s()) as [lease]:
        claimed_at_s = lease.renewed_at_s
        studio.desk.expire(job_id)
        expired_at = studio.desk.row(job_id).lease_expires_at
        heartbeat.start()
        try:
            assert beats.acquire(timeout=DEADLINE_S)
        finally:
            heartbeat.stop()
        assert studio.desk.row(job_id).lease_expires_at > expired_at
        assert lease.renewed_at_s > claimed_at_s


def test_a_job_claimed_after_its_process_gave_all_back_is_returned_undrawn(studio: Any) -> None:
    job_id = studio.desk.submit()
    heartbeat = studio.heartbeat("one")
    give_back_all(studio.desk.ledger, heartbeat)

    studio.draw(heartbeat=heartbeat)

    assert studio.backend.calls == []
    assert studio.desk.state(job_id) is JobState.QUEUED
    assert studio.desk.row(job_id).lease_owner is None
