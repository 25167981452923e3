"""Drawing the next job: what becomes of row, attempt and backend, whatever the backend raises."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest

from imagen import errors
from imagen.domain.cost import Cost
from imagen.domain.job import AttemptState, JobState
from imagen.domain.scope import EVERYTHING
from imagen.ledger.jobs import fenced_writes
from imagen.ledger.jobs.cancel_and_retry import retry_jobs
from imagen.ledger.jobs.pauses import paused_backends
from imagen.services.draw.retry_policy import RetryPolicy

RETRIED = [
    errors.BackendUnavailable("down"),
    errors.RateLimited("wait", "", 5.0),
    errors.BackendStuck("stuck", "", 30.0),
    errors.OutOfCredit("empty"),
]
FINAL = [
    errors.ImagenError("?"),
    errors.ConfigError("?"),
    errors.RequestError("?"),
    errors.BackendError("?"),
    errors.OutcomeUnknown("?"),
    errors.BackendRejected("?"),
    errors.ContentRejected("?"),
    errors.JobTimeout("?"),
    errors.ArtifactLost("?"),
    errors.DeliveryError("?"),
    errors.BrokerUnavailable("?"),
]


def test_an_image_is_drawn_kept_and_told(studio: Any) -> None:
    job_id = studio.desk.submit()

    outcome = studio.draw()

    assert (outcome.job_id, outcome.state, outcome.error) == (job_id, JobState.GENERATED, None)
    assert studio.desk.state(job_id) is JobState.GENERATED
    assert studio.publisher.names(job_id) == ["running"]
    assert studio.publisher.woken_hosts == ["here"]


def test_nothing_to_draw_is_no_outcome(studio: Any) -> None:
    assert studio.draw() is None
    assert studio.backend.calls == []


@pytest.mark.parametrize("error", FINAL, ids=lambda error: error.code)
def test_an_error_that_would_come_again_fails_the_job(paid_studio: Any, error: Any) -> None:
    job_id = paid_studio.desk.submit()
    paid_studio.backend.script = [error]
    paid_studio.backend.cost = Cost(Decimal("0.003"), "price table")

    outcome = paid_studio.draw()

    assert (outcome.state, outcome.error) == (JobState.FAILED, error)
    job = paid_studio.desk.job(job_id)
    assert (job.state, job.error_code, job.error_message) == (JobState.FAILED, error.code, "?")
    assert job.phase == "draw"
    assert job.finished_at is not None
    [attempt] = paid_studio.desk.attempts(job_id)
    assert (attempt.state, attempt.error_code) == (AttemptState.FAILED, error.code)
    # What may have been spent is on record at its usual price; what was not, is not.
    assert attempt.cost_usd == (Decimal("0.003") if error.spent else None)
    assert paused_backends(paid_studio.desk.ledger) == {}
    assert paid_studio.publisher.names(job_id) == ["running", "failed"]


@pytest.mark.parametrize("error", RETRIED, ids=lambda error: error.code)
def test_an_error_that_started_nothing_puts_the_job_off(studio: Any, error: Any) -> None:
    job_id = studio.desk.submit()
    studio.backend.script = [error]

    outcome = studio.draw()

    assert (outcome.state, outcome.error) == (JobState.QUEUED, error)
    assert outcome.retry.wait_s > 0
    job = studio.desk.job(job_id)
    assert (job.state, job.lease_owner, job.error_code) == (JobState.QUEUED, None, error.code)
    assert job.not_before is not None
    assert studio.draw() is None
    assert studio.publisher.names(job_id) == ["running", "retry"]


def test_a_drawing_that_is_begun_and_lost_again_and_again_uses_up_the_tries(studio: Any) -> None:
    job_id = studio.desk.submit()

    def lose(_request: Any, run: Any) -> None:
        run.submitted(str(run.attempt_id))
        raise errors.BackendUnavailable("interrupted")

    studio.backend.script = [lose] * 4

    for _ in range(4):
        studio.draw()
        studio.be_due(job_id)

    job = studio.desk.job(job_id)
    assert (job.state, job.error_code) == (JobState.FAILED, "backend_unavailable")
    numbers = [(each.number, each.state) for each in studio.desk.attempts(job_id)]
    assert numbers == [(number, AttemptState.FAILED) for number in (1, 2, 3, 4)]


def test_being_told_to_wait_uses_up_no_try(studio: Any) -> None:
    job_id = studio.desk.submit()
    studio.backend.script = [errors.RateLimited("wait", "", 1.0)] * 10

    for _ in range(11):
        studio.draw()
        studio.be_due(job_id)

    assert studio.desk.state(job_id) is JobState.GENERATED
    assert [each.number for each in studio.desk.attempts(job_id)] == [1]


def test_a_limit_from_before_a_real_try_does_not_count_against_patience(studio: Any) -> None:
    job_id = studio.desk.submit()

    def lose(_request: Any, run: Any) -> None:
        run.submitted(str(run.attempt_id))
        raise errors.BackendUnavailable("interrupted")

    studio.backend.script = [errors.RateLimited("wait", "", 1.0), lose]
    studio.draw()
    studio.desk.shift(job_id, "limited_since", -600)
    studio.be_due(job_id)
    studio.draw()

    assert studio.desk.row(job_id).limited_since is None


def test_an_outcome_that_may_be_known_later_keeps_the_attempt(paid_studio: Any) -> None:
    job_id = paid_studio.desk.submit()

    def lose_the_answer(_request: Any, run: Any) -> None:
        run.intend(timeout_s=10)
        raise errors.OutcomeUnknown("no answer", "", 20.0)

    paid_studio.backend.script = [lose_the_answer]
    paid_studio.draw()
    assert paid_studio.desk.attempts(job_id)[0].state is AttemptState.INTENDED
    paid_studio.be_due(job_id)

    seen: list[Any] = []
    paid_studio.backend.script = [lambda _request, run: seen.append(run.previous)]
    paid_studio.draw("two")

    assert paid_studio.desk.state(job_id) is JobState.GENERATED
    [previous] = seen
    assert previous.state is AttemptState.INTENDED
    assert previous.intent_age_s is not None
    assert len(paid_studio.desk.attempts(job_id)) == 1


def test_a_paid_call_that_is_answered_late_is_resumed_by_its_id_and_not_sent_again(
    paid_studio: Any,
) -> None:
    job_id = paid_studio.desk.submit()
    ledger = paid_studio.desk.ledger
    stopped = paid_studio.desk.must_claim("stopped")
    fenced_writes.record_intent(ledger, stopped)
    paid_studio.desk.crash(stopped)

    def send_although_the_answer_comes(_request: Any, run: Any) -> None:
        with suppress(errors.LeaseLost):
            fenced_writes.record_submitted(ledger, stopped, "paid-1", place="shop")
        run.intend(timeout_s=10)
        raise AssertionError("the call is sent")

    paid_studio.backend.script = [send_although_the_answer_comes]
    paid_studio.draw("two")
    assert paid_studio.desk.state(job_id) is JobState.QUEUED

    seen: list[Any] = []
    paid_studio.backend.script = [lambda _request, run: seen.append(run.previous)]
    paid_studio.draw("three")

    assert [previous.external_id for previous in seen] == ["paid-1"]
    assert paid_studio.desk.state(job_id) is JobState.GENERATED


def test_a_free_backend_takes_up_the_same_attempt_where_the_outcome_is_unknown(
    studio: Any,
) -> None:
    job_id = studio.desk.submit()
    studio.backend.script = [errors.OutcomeUnknown("no answer")]

    assert studio.draw().state is JobState.QUEUED

    studio.be_due(job_id)
    studio.draw("two")
    assert studio.desk.state(job_id) is JobState.GENERATED
    assert [each.number for each in studio.desk.attempts(job_id)] == [1]


def test_a_paid_attempt_that_cannot_be_asked_about_stays_open_for_a_retry_by_hand(
    paid_studio: Any,
) -> None:
    paid_studio.policy = RetryPolicy(waits_for_backends=False)
    job_id = paid_studio.desk.submit()

    def be_locked_out(_request: Any, run: Any) -> None:
        run.submitted("paid-1", place="shop")
        raise errors.CredentialError("token refused")

    paid_studio.backend.script = [be_locked_out]
    assert paid_studio.draw().state is JobState.FAILED

    retry_jobs(paid_studio.desk.ledger, EVERYTHING)
    paid_studio.draw("two")

    [attempt] = paid_studio.desk.attempts(job_id)
    assert (attempt.state, attempt.external_id) == (AttemptState.DRAWN, "paid-1")


@pytest.mark.parametrize(
    "error", [errors.CredentialError("no token"), errors.ConfigError("no such input")], ids=repr
)
def test_a_lost_call_that_could_not_be_looked_for_is_looked_for_by_a_retry_by_hand(
    paid_studio: Any, error: errors.ImagenError
) -> None:
    paid_studio.policy = RetryPolicy(waits_for_backends=False)
    paid_studio.desk.submit()
    killed = paid_studio.desk.must_claim("killed")
    fenced_writes.record_intent(paid_studio.desk.ledger, killed)
    paid_studio.desk.crash(killed)
    paid_studio.backend.script = [error]
    assert paid_studio.draw().state is JobState.FAILED

    retry_jobs(paid_studio.desk.ledger, EVERYTHING)
    seen: list[Any] = []
    paid_studio.backend.script = [lambda _request, run: seen.append(run.previous)]
    paid_studio.draw("two")

    assert [(each.id, each.state) for each in seen] == [(killed.attempt.id, AttemptState.INTENDED)]


def test_a_lost_call_of_unknown_outcome_is_over_when_its_job_fails(paid_studio: Any) -> None:
    """The error says so, and where to look before a retry pays again."""
    job_id = paid_studio.desk.submit()
    killed = paid_studio.desk.must_claim("killed")
    fenced_writes.record_intent(paid_studio.desk.ledger, killed)
    paid_studio.desk.crash(killed)
    paid_studio.backend.script = [errors.OutcomeUnknown("lost too long ago")]

    assert paid_studio.draw().state is JobState.FAILED

    assert paid_studio.desk.attempts(job_id)[0].state is AttemptState.FAILED


def test_a_bug_of_an_adapter_fails_the_job_and_is_not_taken_for_a_crash(
    sqlite_studio: Any,
) -> None:
    job_id = sqlite_studio.desk.submit()
    sqlite_studio.backend.script = [ZeroDivisionError("the secret prompt")]

    sqlite_studio.draw()

    job = sqlite_studio.desk.job(job_id)
    assert (job.state, job.error_code, job.crash_count) == (
        JobState.FAILED,
        "backend_rejected",
        0,
    )
    assert "ZeroDivisionError" in (job.error_message or "")
    assert "secret" not in (job.error_message or "")


def test_a_job_of_an_unknown_backend_fails_and_says_so(sqlite_studio: Any) -> None:
    job_id = sqlite_studio.desk.submit(backend="gone")

    assert sqlite_studio.draw().state is JobState.FAILED

    assert "unknown backend 'gone'" in (sqlite_studio.desk.job(job_id).error_message or "")


def test_what_it_cost_is_on_record_with_the_attempt(paid_studio: Any) -> None:
    job_id = paid_studio.desk.submit()
    paid_studio.backend.cost = Cost(Decimal("0.003"), "price table")

    paid_studio.draw()

    [attempt] = paid_studio.desk.attempts(job_id)
    assert (attempt.cost_usd, attempt.cost_source) == (Decimal("0.003"), "price table")


def test_a_server_may_drop_its_copy_only_when_the_image_is_kept(paid_studio: Any) -> None:
    job_id = paid_studio.desk.submit()
    states: list[Any] = []
    paid_studio.backend.forget = lambda _id: states.append(paid_studio.desk.state(job_id))
    paid_studio.backend.script = [lambda _request, run: run.submitted("paid-1")]

    paid_studio.draw()

    assert states == [JobState.GENERATED]


@pytest.mark.usefixtures("kept_as_files")
def test_an_image_that_cannot_be_kept_is_given_back_without_a_crash(paid_studio: Any) -> None:
    job_id = paid_studio.desk.submit()
    folder = paid_studio.desk.ledger.artifact_folder
    folder.write_text("a file where a folder is needed")
    paid_studio.backend.script = [lambda _request, run: run.submitted("paid-1")]

    with pytest.raises(errors.LedgerUnavailable):
        paid_studio.draw()

    job = paid_studio.desk.job(job_id)
    assert (job.state, job.crash_count) == (JobState.QUEUED, 0)
    assert sum(paid_studio.clock.slept) > 60
    folder.unlink()
    assert paid_studio.draw("two").state is JobState.GENERATED
    assert paid_studio.desk.attempts(job_id)[0].external_id == "paid-1"
