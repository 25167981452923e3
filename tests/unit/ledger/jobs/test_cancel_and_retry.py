"""Cancel and retry, as people ask for them."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.domain.job import AttemptDisposition, AttemptState, JobState
from imagen.domain.scope import EVERYTHING, Scope
from imagen.ledger.jobs import fenced_writes
from imagen.ledger.jobs.cancel_and_retry import request_cancel, retry_jobs
from imagen.ledger.jobs.delivery import claim_deliveries, record_delivery_failed
from imagen.ledger.jobs.fenced_writes import Ending, record_retry
from imagen.ledger.jobs.leases import renew_leases
from imagen.ledger.jobs.pauses import pause_backend, resume_backends

NO = Ending("backend_rejected", "no")


def test_a_queued_job_is_canceled_at_once(desk: Any) -> None:
    job_id = desk.submit()

    assert request_cancel(desk.ledger, EVERYTHING) == {job_id: JobState.CANCELED}

    row = desk.row(job_id)
    assert (row.state, row.error_code) == ("canceled", "canceled")
    assert row.finished_at is not None
    assert desk.claim() is None


def test_a_generated_job_is_canceled_at_once_under_its_deliverer(desk: Any) -> None:
    job_id = desk.generated()
    claim_deliveries(desk.ledger, desk.claimant(), host="here")

    assert request_cancel(desk.ledger, EVERYTHING) == {job_id: JobState.CANCELED}

    assert desk.row(job_id).lease_owner is None


def test_a_running_job_learns_of_its_cancel_at_the_next_heartbeat(desk: Any) -> None:
    job_id = desk.submit()
    desk.must_claim("one")

    assert request_cancel(desk.ledger, EVERYTHING) == {job_id: JobState.RUNNING}

    assert renew_leases(desk.ledger, "one", lease_s=30)[job_id].cancel_requested


def test_a_job_that_waits_to_be_looked_up_is_canceled_by_the_next_claim_without_delay(
    desk: Any,
) -> None:
    job_id = desk.submit()
    claim = desk.must_claim()
    fenced_writes.record_submitted(desk.ledger, claim, "paid-1", place="shop")
    fenced_writes.record_retry(
        desk.ledger, claim, NO, wait_s=600, disposition=AttemptDisposition.KEEP
    )

    assert request_cancel(desk.ledger, EVERYTHING) == {job_id: JobState.QUEUED}

    again = desk.must_claim()
    assert again.job.cancel_requested_at is not None
    assert again.attempt.external_id == "paid-1"


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED])
def test_what_has_ended_is_not_canceled(desk: Any, state: JobState) -> None:
    job_id = desk.submit()
    desk.set(job_id, state=state.value)
    before = desk.snapshot()

    assert request_cancel(desk.ledger, EVERYTHING) == {}

    assert desk.snapshot() == before


def test_canceling_twice_keeps_the_time_of_the_first(desk: Any) -> None:
    job_id = desk.submit()
    desk.must_claim()
    request_cancel(desk.ledger, EVERYTHING)
    first = desk.row(job_id).cancel_requested_at

    request_cancel(desk.ledger, EVERYTHING)

    assert desk.row(job_id).cancel_requested_at == first


def test_a_cancel_takes_only_what_was_named(desk: Any) -> None:
    named, other = desk.submit(), desk.submit()

    assert list(request_cancel(desk.ledger, Scope(job_ids=(named,)))) == [named]
    assert desk.state(other) is JobState.QUEUED


def test_a_failed_job_is_retried_with_its_counts_begun_anew(desk: Any) -> None:
    job_id = desk.submit()
    fenced_writes.record_failed(desk.ledger, desk.must_claim(), NO)
    desk.set(job_id, crash_count=3, delivery_count=2)

    assert retry_jobs(desk.ledger, EVERYTHING) == {job_id: JobState.QUEUED}

    row = desk.row(job_id)
    assert (row.crash_count, row.delivery_count, row.tried_before) == (0, 0, 1)
    assert (row.error_code, row.finished_at, row.limited_since) == (None, None, None)
    assert desk.must_claim().attempt.number == 2


def test_a_retry_of_a_crashed_paid_job_resumes_what_was_paid_for(desk: Any) -> None:
    desk.submit()
    claim = desk.must_claim()
    fenced_writes.record_submitted(desk.ledger, claim, "paid-1", place="shop")
    desk.crash(claim, max_crashes=1)

    retry_jobs(desk.ledger, EVERYTHING)

    again = desk.must_claim("two")
    assert again.resumed
    assert again.attempt.external_id == "paid-1"


def test_a_retry_of_a_canceled_job_is_not_canceled_again(desk: Any) -> None:
    job_id = desk.submit()
    request_cancel(desk.ledger, EVERYTHING)

    retry_jobs(desk.ledger, EVERYTHING)

    assert desk.must_claim().job.cancel_requested_at is None
    assert desk.state(job_id) is JobState.RUNNING


@pytest.mark.parametrize(
    "state", [JobState.QUEUED, JobState.RUNNING, JobState.GENERATED, JobState.SUCCEEDED]
)
def test_what_is_on_its_way_or_done_is_not_retried(desk: Any, state: JobState) -> None:
    job_id = desk.submit()
    desk.set(job_id, state=state.value, lease_owner="one")
    before = desk.snapshot()

    assert retry_jobs(desk.ledger, EVERYTHING) == {}

    assert desk.snapshot() == before


def test_a_delivery_whose_artifact_is_gone_is_drawn_again_when_retried(desk: Any) -> None:
    job_id = desk.generated()
    [claim] = claim_deliveries(desk.ledger, desk.claimant(), host="here")
    record_delivery_failed(desk.ledger, claim, code="delivery", message="no")
    desk.sql("DELETE FROM artifacts" if desk.ledger.path else "DELETE FROM imagen.artifacts")

    assert retry_jobs(desk.ledger, EVERYTHING) == {job_id: JobState.QUEUED}

    assert desk.row(job_id).phase == "draw"
    assert desk.must_claim().attempt.number == 2


def test_an_ended_attempt_stays_ended_when_its_job_is_retried(desk: Any) -> None:
    job_id = desk.submit()
    fenced_writes.record_failed(desk.ledger, desk.must_claim(), NO)
    retry_jobs(desk.ledger, EVERYTHING)
    desk.must_claim()

    states = [attempt.state for attempt in desk.attempts(job_id)]

    assert states == [AttemptState.FAILED, AttemptState.STARTED]


def test_lifting_a_pause_lets_its_jobs_go_on_at_once(desk: Any) -> None:
    job_id = desk.submit()
    ending = Ending("out_of_credit", "no credit")
    record_retry(
        desk.ledger, desk.must_claim(), ending, wait_s=900, disposition=AttemptDisposition.REWIND
    )
    pause_backend(desk.ledger, "mock", reason="no credit", pause_s=900)
    assert desk.claim() is None

    resume_backends(desk.ledger, "mock")

    assert desk.must_claim().job.id == job_id
