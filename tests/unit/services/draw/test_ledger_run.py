"""What a backend may tell the ledger about its attempt, and when it must not send money."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from imagen.domain.job import AttemptState, Lane
from imagen.domain.scope import EVERYTHING
from imagen.errors import JobCanceled, LeaseLost
from imagen.ledger.jobs.cancel_and_retry import request_cancel
from imagen.ledger.jobs.fenced_writes import record_intent
from imagen.services.draw.ledger_run import LedgerRun


@contextmanager
def running(studio: Any, claim: Any = None) -> Iterator[LedgerRun]:
    claim = claim or studio.desk.must_claim("one")
    heartbeat = studio.heartbeat("one")
    with heartbeat.holding([claim], claimed_at_s=studio.clock.now_s) as [lease]:
        yield LedgerRun(studio.desk.ledger, lease, heartbeat, studio.publisher, studio.clock)


def test_an_intent_is_committed_before_the_paid_call(studio: Any) -> None:
    job_id = studio.desk.submit()

    with running(studio) as run:
        run.intend(timeout_s=10)

        assert studio.desk.attempts(job_id)[0].state is AttemptState.INTENDED


def test_a_lease_that_may_end_before_the_call_is_renewed_first(studio: Any) -> None:
    studio.desk.submit()
    with running(studio) as run:
        studio.clock.sleep(25)
        assert run.lease_left_s() == 5

        run.intend(timeout_s=10)

        assert run.lease_left_s() == 30


def test_no_paid_call_is_sent_when_the_job_was_taken_back_meanwhile(studio: Any) -> None:
    job_id = studio.desk.submit()
    claim = studio.desk.must_claim("one")
    with running(studio, claim) as run:
        studio.desk.crash(claim)
        studio.clock.sleep(25)

        with pytest.raises(LeaseLost):
            run.intend(timeout_s=10)

        assert studio.desk.attempts(job_id)[0].state is AttemptState.STARTED


def test_no_paid_call_is_sent_even_with_a_fresh_lease_when_the_job_is_anothers(
    studio: Any,
) -> None:
    studio.desk.submit()
    claim = studio.desk.must_claim("one")
    with running(studio, claim) as run:
        studio.desk.crash(claim)
        studio.desk.must_claim("two")

        with pytest.raises(LeaseLost):
            run.intend(timeout_s=10)


def test_no_paid_call_is_sent_when_renewing_took_too_long(
    studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = studio.desk.submit()
    from imagen.services.leases import heartbeat

    real = heartbeat.renew_leases

    def renew_slowly(*args: Any, **options: Any) -> Any:
        found = real(*args, **options)
        studio.clock.sleep(25)
        return found

    monkeypatch.setattr(heartbeat, "renew_leases", renew_slowly)
    with running(studio) as run:
        studio.clock.sleep(25)

        with pytest.raises(LeaseLost, match="before a paid call"):
            run.intend(timeout_s=10)

    assert studio.desk.attempts(job_id)[0].state is AttemptState.STARTED


def test_half_a_lease_is_enough_for_a_call_that_may_take_longer(studio: Any) -> None:
    studio.desk.submit()
    with running(studio) as run:
        studio.clock.sleep(14)

        run.intend(timeout_s=3600)

        assert run.lease_left_s() == 16


def test_a_canceled_job_sends_nothing(studio: Any) -> None:
    studio.desk.submit()
    with running(studio) as run:
        request_cancel(studio.desk.ledger, EVERYTHING)
        studio.clock.sleep(25)

        with pytest.raises(JobCanceled):
            run.intend(timeout_s=10)


def test_progress_is_told_now_and_then(sqlite_studio: Any) -> None:
    job_id = sqlite_studio.desk.submit()
    with running(sqlite_studio) as run:
        for step in range(10):
            run.progress(step, 10)
        sqlite_studio.clock.sleep(0.1)
        run.progress(10, 10)

    told = [event["done"] for each, event in sqlite_studio.publisher.events if each == job_id]
    assert told == [0, 10]


def test_a_bulk_job_tells_its_progress_once_a_second_and_a_quick_one_nothing(
    sqlite_studio: Any,
) -> None:
    sqlite_studio.desk.submit(lane=Lane.BULK)
    with running(sqlite_studio) as run:
        for step in range(10):
            run.progress(step, 100)
        quick = list(sqlite_studio.publisher.events)
        for step in range(10, 40):
            sqlite_studio.clock.sleep(0.1)
            run.progress(step, 100)

    assert quick == []
    assert len(sqlite_studio.publisher.events) in (2, 3)


def test_a_phase_travels_with_the_progress_it_stands_for(sqlite_studio: Any) -> None:
    sqlite_studio.desk.submit()
    with running(sqlite_studio) as run:
        run.progress(0, 30, phase="waiting behind 2 others")
        sqlite_studio.clock.sleep(0.1)
        run.progress(1, 30)

    told = [event for _, event in sqlite_studio.publisher.events if event["event"] == "progress"]
    assert [event.get("phase") for event in told] == ["waiting behind 2 others", None]


def test_a_first_run_has_no_previous_one(sqlite_studio: Any) -> None:
    sqlite_studio.desk.submit()

    with running(sqlite_studio) as run:
        assert run.previous is None


def test_an_attempt_that_sent_nothing_is_no_previous_one(sqlite_studio: Any) -> None:
    sqlite_studio.desk.submit()
    first = sqlite_studio.desk.must_claim("dead")
    sqlite_studio.desk.crash(first)

    with running(sqlite_studio) as run:
        assert run.previous is None
        assert run.attempt_id == first.attempt.id


def test_an_attempt_that_may_have_sent_something_is_the_previous_one(sqlite_studio: Any) -> None:
    sqlite_studio.desk.submit()
    first = sqlite_studio.desk.must_claim("dead")
    record_intent(sqlite_studio.desk.ledger, first)
    sqlite_studio.desk.crash(first)

    with running(sqlite_studio) as run:
        assert run.previous is not None
        assert run.previous.id == run.attempt_id == first.attempt.id
        assert run.previous.intent_age_s is not None
