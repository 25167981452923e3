"""Leases run out, the dead give back what they held, and a job that kills workers is ended."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.domain.job import AttemptState, JobState
from imagen.domain.scope import EVERYTHING
from imagen.ledger.jobs import fenced_writes
from imagen.ledger.jobs.cancel_and_retry import request_cancel
from imagen.ledger.jobs.delivery import claim_deliveries
from imagen.ledger.jobs.delivery_statements import ALONE_AFTER
from imagen.ledger.jobs.leases import end_canceled, lease_owners, renew_leases, take_back
from imagen.ledger.jobs.named_locks import release_lock, take_lock


def test_renewing_answers_for_every_job_that_is_still_held(desk: Any) -> None:
    kept, lost = desk.submit(), desk.submit()
    desk.must_claim("one")
    desk.must_claim("one")
    desk.expire(lost)
    take_back(desk.ledger, max_crashes=5)

    renewed = renew_leases(desk.ledger, "one", lease_s=30)

    assert list(renewed) == [kept]
    assert renewed[kept].fence == 1


def test_an_expired_lease_is_renewed_as_long_as_nobody_took_the_job_back(desk: Any) -> None:
    job_id = desk.submit()
    desk.must_claim("one")
    desk.expire(job_id)

    assert job_id in renew_leases(desk.ledger, "one", lease_s=30)
    assert take_back(desk.ledger, max_crashes=5) == 0


def test_a_live_lease_is_not_taken_back(desk: Any) -> None:
    job_id = desk.submit()
    desk.must_claim("one")

    assert take_back(desk.ledger, max_crashes=5) == 0
    assert desk.row(job_id).lease_owner == "one"


def test_what_the_dead_held_is_taken_back_at_once(desk: Any) -> None:
    of_the_dead, of_the_living = desk.submit(), desk.submit()
    desk.must_claim("dead")
    desk.must_claim("alive")

    assert take_back(desk.ledger, max_crashes=5, dead=["dead", "a stranger"]) == 1

    assert desk.state(of_the_dead) is JobState.QUEUED
    assert desk.row(of_the_living).lease_owner == "alive"


def test_each_crash_counts_and_raises_the_fence(desk: Any) -> None:
    job_id = desk.submit()

    desk.crash(desk.must_claim())

    row = desk.row(job_id)
    assert (row.state, row.crash_count, row.fence) == ("queued", 1, 2)
    assert (row.lease_owner, row.lease_expires_at) == (None, None)


def test_a_job_that_kills_its_workers_fails_in_the_end(desk: Any) -> None:
    job_id = desk.submit()

    for _ in range(3):
        desk.crash(desk.must_claim(), max_crashes=3)

    row = desk.row(job_id)
    assert (row.state, row.error_code, row.crash_count) == ("failed", "worker_crashed", 3)
    assert row.finished_at is not None
    assert desk.claim() is None


def test_a_delivery_of_the_dead_is_freed_and_its_job_never_fails_for_it(desk: Any) -> None:
    job_id = desk.generated()

    for _ in range(10):
        desk.set(job_id, not_before=None)
        [claim] = claim_deliveries(desk.ledger, desk.claimant(), host="here")
        desk.crash(claim, max_crashes=1)

    row = desk.row(job_id)
    assert (row.state, row.crash_count, row.delivery_count) == ("generated", 0, 10)


def test_taking_back_twice_counts_one_crash(desk: Any) -> None:
    job_id = desk.submit()
    desk.crash(desk.must_claim())

    assert take_back(desk.ledger, max_crashes=5, dead=["one"]) == 0
    assert desk.row(job_id).crash_count == 1


def test_everybody_who_holds_a_lease_is_known(desk: Any) -> None:
    desk.submit()
    desk.submit()
    desk.submit()
    desk.must_claim("one")
    desk.must_claim("two")

    assert lease_owners(desk.ledger) == {"one", "two"}


def test_a_canceled_job_that_no_backend_heard_of_is_ended(desk: Any) -> None:
    job_id = desk.submit()
    claim = desk.must_claim()
    request_cancel(desk.ledger, EVERYTHING)
    assert desk.state(job_id) is JobState.RUNNING
    desk.crash(claim)

    assert end_canceled(desk.ledger) == 1
    assert desk.state(job_id) is JobState.CANCELED


@pytest.mark.parametrize("state", [AttemptState.INTENDED, AttemptState.SUBMITTED])
def test_a_canceled_job_that_a_backend_may_be_drawing_is_left_to_the_next_claim(
    desk: Any, state: AttemptState
) -> None:
    desk.submit()
    claim = desk.must_claim()
    fenced_writes.record_intent(desk.ledger, claim)
    if state is AttemptState.SUBMITTED:
        fenced_writes.record_submitted(desk.ledger, claim, "paid-1", place="shop")
    request_cancel(desk.ledger, EVERYTHING)
    desk.crash(claim)

    assert end_canceled(desk.ledger) == 0
    assert desk.must_claim("two").job.cancel_requested_at is not None


def test_a_lock_belongs_to_one_owner_at_a_time(desk: Any) -> None:
    assert take_lock(desk.ledger, "reconcile", "one", lease_s=15)
    assert take_lock(desk.ledger, "reconcile", "one", lease_s=15)
    assert not take_lock(desk.ledger, "reconcile", "two", lease_s=15)
    assert take_lock(desk.ledger, "another", "two", lease_s=15)


def test_a_lock_that_ran_out_is_anybodys(desk: Any) -> None:
    take_lock(desk.ledger, "reconcile", "one", lease_s=-1)

    assert take_lock(desk.ledger, "reconcile", "two", lease_s=15)
    assert not take_lock(desk.ledger, "reconcile", "one", lease_s=15)


def test_only_its_owner_gives_a_lock_back(desk: Any) -> None:
    take_lock(desk.ledger, "reconcile", "one", lease_s=15)

    release_lock(desk.ledger, "reconcile", "two")
    assert not take_lock(desk.ledger, "reconcile", "two", lease_s=15)

    release_lock(desk.ledger, "reconcile", "one")
    assert take_lock(desk.ledger, "reconcile", "two", lease_s=15)


def test_a_delivery_that_keeps_ending_its_worker_waits_and_is_taken_alone(desk: Any) -> None:
    shaky, sound = desk.generated(), desk.generated()
    for _ in range(ALONE_AFTER):
        desk.set(shaky, not_before=None)
        claim_deliveries(desk.ledger, desk.claimant("one"), host="here", limit=1)
        desk.expire(shaky)
        take_back(desk.ledger, max_crashes=5)
    assert desk.row(shaky).not_before is not None
    desk.set(shaky, not_before=None)

    first = claim_deliveries(desk.ledger, desk.claimant("one"), host="here")
    then = claim_deliveries(desk.ledger, desk.claimant("one"), host="here")

    assert [claim.job.id for claim in first] == [shaky]
    assert [claim.job.id for claim in then] == [sound]
