"""What a worker that lost its job may still write: nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from imagen.domain.job import AttemptDisposition, AttemptState, Claim, JobState
from imagen.domain.protocols import AlreadyOwned
from imagen.domain.scope import EVERYTHING
from imagen.errors import LeaseLost
from imagen.ledger.jobs import delivery, fenced_writes
from imagen.ledger.jobs.cancel_and_retry import request_cancel, retry_jobs
from imagen.ledger.jobs.fenced_writes import Ending
from imagen.ledger.jobs.generated import record_generated
from imagen.ledger.jobs.leases import renew_leases

ENDING = Ending("backend_rejected", "no")

WRITES: dict[str, Callable[[Any, Claim], object]] = {
    "intent": lambda desk, claim: fenced_writes.record_intent(desk.ledger, claim),
    "generated": lambda desk, claim: desk.generate(claim),
    "retry end": lambda desk, claim: fenced_writes.record_retry(
        desk.ledger, claim, ENDING, wait_s=1, disposition=AttemptDisposition.END
    ),
    "retry rewind": lambda desk, claim: fenced_writes.record_retry(
        desk.ledger, claim, ENDING, wait_s=1, disposition=AttemptDisposition.REWIND
    ),
    "retry keep": lambda desk, claim: fenced_writes.record_retry(
        desk.ledger, claim, ENDING, wait_s=1, disposition=AttemptDisposition.KEEP
    ),
    "failed": lambda desk, claim: fenced_writes.record_failed(desk.ledger, claim, ENDING),
    "canceled": lambda desk, claim: fenced_writes.record_failed(
        desk.ledger, claim, Ending("canceled", "x", AttemptState.CANCELED)
    ),
    "give back": lambda desk, claim: fenced_writes.give_back(desk.ledger, claim),
}


def lose_to_nobody(desk: Any, claim: Claim) -> None:
    desk.crash(claim)


def lose_to_another(desk: Any, claim: Claim) -> None:
    desk.crash(claim)
    desk.must_claim("two")


def lose_to_another_thread_of_the_same_process(desk: Any, claim: Claim) -> None:
    desk.crash(claim)
    desk.must_claim("one")


def lose_to_another_try(desk: Any, claim: Claim) -> None:
    desk.crash(claim)
    second = desk.must_claim("two")
    fenced_writes.record_retry(
        desk.ledger, second, ENDING, wait_s=0, disposition=AttemptDisposition.END
    )
    desk.must_claim("three")


def lose_to_an_image(desk: Any, claim: Claim) -> None:
    desk.crash(claim)
    desk.generate(desk.must_claim("two"))


def lose_to_a_reused_fence(desk: Any, claim: Claim) -> None:
    # What a database crash does to an unsynced claim: rolled back, and its number given out again.
    desk.set(claim.job.id, lease_owner="two")


LOSSES = [
    lose_to_nobody,
    lose_to_another,
    lose_to_another_thread_of_the_same_process,
    lose_to_another_try,
    lose_to_an_image,
    lose_to_a_reused_fence,
]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("lose", LOSSES)
def test_a_worker_that_lost_its_job_writes_nothing(
    desk: Any, write: str, lose: Callable[[Any, Claim], None]
) -> None:
    desk.submit()
    claim = desk.must_claim("one")
    lose(desk, claim)
    before = desk.snapshot()

    with pytest.raises(LeaseLost):
        WRITES[write](desk, claim)

    assert desk.snapshot() == before


@pytest.mark.parametrize("state", ["generated", "same process", "reused fence", "canceled"])
def test_a_delivery_that_lost_its_job_writes_nothing(desk: Any, state: str) -> None:
    job_id = desk.generated()
    [claim] = delivery.claim_deliveries(desk.ledger, desk.claimant(), host="here")
    key = desk.artifact_rows()[0].key
    if state in ("generated", "same process"):
        owner = "two" if state == "generated" else "one"
        desk.expire(job_id)
        assert delivery.claim_deliveries(desk.ledger, desk.claimant(owner), host="here")
    elif state == "reused fence":
        desk.set(job_id, lease_owner="two")
    else:
        request_cancel(desk.ledger, EVERYTHING)
    before = desk.snapshot()

    done = delivery.Delivered(claim, "/somewhere/fox.png", "0" * 64, key)
    answers = [
        *delivery.record_targets(desk.ledger, [(claim, "/somewhere/fox.png")]),
        *delivery.record_succeeded(desk.ledger, [done]),
        delivery.record_delivery_failed(desk.ledger, claim, code="delivery", message="no"),
        delivery.draw_again(desk.ledger, claim),
    ]

    assert answers == [False] * 4
    assert desk.snapshot() == before


def test_a_worker_may_go_on_after_its_lease_ran_out_as_long_as_nobody_took_the_job(
    desk: Any,
) -> None:
    job_id = desk.submit()
    claim = desk.must_claim()
    desk.expire(job_id)

    desk.generate(claim)

    assert desk.state(job_id) is JobState.GENERATED


def test_the_image_and_the_state_come_together(desk: Any) -> None:
    job_id = desk.submit()

    desk.generate(desk.must_claim(), data=b"bytes")

    row = desk.row(job_id)
    assert (row.state, row.phase, row.lease_owner) == ("generated", "deliver", None)
    [artifact] = desk.artifact_rows()
    assert (artifact.job_id, artifact.size_bytes) == (job_id, 5)
    [attempt] = desk.attempts(job_id)
    assert attempt.state is AttemptState.DRAWN
    assert (attempt.model, attempt.seed, attempt.latency_ms) == ("landscape", 7, 12)
    assert attempt.finished_at is not None


def test_an_image_that_cannot_be_kept_leaves_the_job_running(desk: Any) -> None:
    job_id = desk.submit()
    claim = desk.must_claim()
    finish = desk.finish_of(claim)
    taken = replace(finish, latency_ms=1)
    desk.generate(claim)
    # The key is in use, so the second image is refused by the database after its file was written.
    desk.set(job_id, state="running", lease_owner="one")
    before = desk.snapshot()

    with pytest.raises(Exception, match=r"UNIQUE|unique"):
        record_generated(desk.ledger, claim, taken, durable=True)

    after = desk.snapshot()
    assert {**after, "files": []} == {**before, "files": []}


def test_a_late_image_of_a_canceled_attempt_is_on_record_and_its_bytes_are_not(desk: Any) -> None:
    job_id = desk.submit()
    claim = desk.must_claim()
    fenced_writes.record_submitted(desk.ledger, claim, "paid-1", place="shop")
    desk.crash(claim)
    request_cancel(desk.ledger, EVERYTHING)
    other = desk.must_claim("two")
    canceled = Ending("canceled", "canceled", AttemptState.CANCELED)
    fenced_writes.record_failed(desk.ledger, other, canceled)

    with pytest.raises(LeaseLost):
        desk.generate(claim)

    assert desk.state(job_id) is JobState.CANCELED
    [attempt] = desk.attempts(job_id)
    assert (attempt.state, attempt.model) == (AttemptState.LATE, "landscape")
    assert desk.artifact_rows() == []
    assert desk.artifact_files() == []


def test_a_commit_whose_answer_was_lost_does_not_cost_the_image(desk: Any) -> None:
    """The write is tried again, finds its fence gone, and must not drop what it wrote itself."""
    from imagen.ledger.jobs.artifacts import load_artifacts

    job_id = desk.submit()
    claim = desk.must_claim()
    desk.generate(claim, data=b"the image")

    with pytest.raises(LeaseLost):
        desk.generate(claim, data=b"the image")

    assert load_artifacts(desk.ledger, [job_id])[job_id].data == b"the image"


def test_the_id_of_a_paid_call_is_written_even_when_the_lease_is_lost(desk: Any) -> None:
    job_id = desk.submit()
    claim = desk.must_claim()
    fenced_writes.record_intent(desk.ledger, claim)
    desk.crash(claim)

    with pytest.raises(LeaseLost):
        fenced_writes.record_submitted(desk.ledger, claim, "paid-1", place="shop")

    resumed = desk.must_claim("two")
    assert resumed.resumed
    assert (resumed.attempt.external_id, resumed.attempt.place) == ("paid-1", "shop")
    assert desk.row(job_id).lease_owner == "two"


def test_a_late_id_does_not_replace_the_one_that_the_new_holder_committed(desk: Any) -> None:
    desk.submit()
    claim = desk.must_claim()
    desk.crash(claim)
    fenced_writes.record_submitted(desk.ledger, desk.must_claim("two"), "paid-2", place="shop")
    before = desk.snapshot()

    with pytest.raises(LeaseLost):
        fenced_writes.record_submitted(desk.ledger, claim, "paid-1", place="shop")

    assert desk.snapshot() == before


def test_no_call_is_announced_for_an_attempt_whose_id_came_late(desk: Any) -> None:
    desk.submit()
    stopped = desk.must_claim("one")
    fenced_writes.record_intent(desk.ledger, stopped)
    desk.crash(stopped)
    successor = desk.must_claim("two")
    with pytest.raises(LeaseLost):
        fenced_writes.record_submitted(desk.ledger, stopped, "paid-1", place="shop")
    before = desk.snapshot()

    with pytest.raises(LeaseLost):
        fenced_writes.record_intent(desk.ledger, successor)

    assert desk.snapshot() == before
    fenced_writes.give_back(desk.ledger, successor)
    assert desk.must_claim("three").attempt.external_id == "paid-1"


def test_a_call_is_announced_again_for_an_attempt_whose_id_its_holder_knows(desk: Any) -> None:
    job_id = desk.submit()
    first = desk.must_claim("one")
    fenced_writes.record_submitted(desk.ledger, first, "paid-1", place="shop")
    desk.crash(first)

    fenced_writes.record_intent(desk.ledger, desk.must_claim("two"))

    assert desk.attempts(job_id)[0].state is AttemptState.INTENDED


def test_an_id_does_not_open_an_attempt_that_has_ended(desk: Any) -> None:
    desk.submit()
    claim = desk.must_claim()
    fenced_writes.record_failed(desk.ledger, claim, ENDING)
    before = desk.snapshot()

    with pytest.raises(LeaseLost):
        fenced_writes.record_submitted(desk.ledger, claim, "paid-1", place="shop")

    assert desk.snapshot() == before


def test_an_id_of_the_provider_belongs_to_one_attempt(desk: Any) -> None:
    desk.submit()
    desk.submit()
    fenced_writes.record_submitted(desk.ledger, desk.must_claim(), "paid-1", place="shop")
    second = desk.must_claim()

    with pytest.raises(AlreadyOwned):
        fenced_writes.record_submitted(desk.ledger, second, "paid-1", place="shop")

    fenced_writes.record_submitted(desk.ledger, second, "paid-1", place="another shop")


def test_the_same_id_may_be_told_twice(desk: Any) -> None:
    job_id = desk.submit()
    claim = desk.must_claim()

    fenced_writes.record_submitted(desk.ledger, claim, "paid-1", place="shop")
    fenced_writes.record_submitted(desk.ledger, claim, "paid-1", place="shop")

    assert desk.attempts(job_id)[0].state is AttemptState.SUBMITTED


def test_a_new_holder_takes_up_the_unfinished_attempt(desk: Any) -> None:
    job_id = desk.submit()
    claim = desk.must_claim("one")
    fenced_writes.record_intent(desk.ledger, claim)
    desk.crash(claim)

    resumed = desk.must_claim("two")

    assert resumed.resumed
    assert resumed.attempt.id == claim.attempt.id
    assert resumed.attempt.state is AttemptState.INTENDED
    assert 0 <= resumed.attempt.intent_age_s < 60
    assert resumed.job.fence > claim.job.fence
    assert len(desk.attempts(job_id)) == 1


@pytest.mark.parametrize(
    ("disposition", "state", "number"),
    [
        (AttemptDisposition.END, AttemptState.FAILED, 2),
        (AttemptDisposition.REWIND, AttemptState.STARTED, 1),
        (AttemptDisposition.KEEP, AttemptState.INTENDED, 1),
    ],
)
def test_what_becomes_of_the_attempt_when_its_job_goes_back(
    desk: Any, disposition: AttemptDisposition, state: AttemptState, number: int
) -> None:
    job_id = desk.submit()
    claim = desk.must_claim()
    fenced_writes.record_intent(desk.ledger, claim)

    fenced_writes.record_retry(desk.ledger, claim, ENDING, wait_s=0, disposition=disposition)

    row = desk.row(job_id)
    assert (row.state, row.lease_owner, row.error_code) == ("queued", None, "backend_rejected")
    assert desk.attempts(job_id)[0].state is state
    assert desk.must_claim().attempt.number == number


def test_a_job_given_back_counts_no_crash_and_is_resumed(desk: Any) -> None:
    job_id = desk.submit()
    claim = desk.must_claim()
    fenced_writes.record_submitted(desk.ledger, claim, "paid-1", place="shop")

    fenced_writes.give_back(desk.ledger, claim)

    assert (desk.row(job_id).crash_count, desk.row(job_id).lease_owner) == (0, None)
    assert desk.must_claim("two").attempt.external_id == "paid-1"


def test_drawing_clears_what_went_wrong_before(desk: Any) -> None:
    job_id = desk.submit()
    fenced_writes.record_retry(
        desk.ledger, desk.must_claim(), ENDING, wait_s=0, disposition=AttemptDisposition.REWIND
    )

    claim = desk.must_claim()
    assert claim.limited_s >= 0
    desk.generate(claim)

    row = desk.row(job_id)
    assert (row.error_code, row.error_message, row.limited_since) == (None, None, None)


def test_a_heartbeat_of_a_worker_that_lost_its_job_renews_nothing(desk: Any) -> None:
    job_id = desk.submit()
    desk.crash(desk.must_claim("one"))
    desk.must_claim("two")
    before = desk.snapshot()

    assert renew_leases(desk.ledger, "one", lease_s=600) == {}

    assert desk.snapshot() == before
    assert list(renew_leases(desk.ledger, "two", lease_s=30)) == [job_id]


def test_a_retried_job_is_out_of_reach_for_its_former_holder(desk: Any) -> None:
    desk.submit()
    claim = desk.must_claim()
    fenced_writes.record_failed(desk.ledger, claim, ENDING)
    retry_jobs(desk.ledger, EVERYTHING)
    before = desk.snapshot()

    with pytest.raises(LeaseLost):
        desk.generate(claim)

    assert desk.snapshot() == before
