"""Jobs that are canceled while they run, and workers that lost theirs."""

from __future__ import annotations

from typing import Any

from imagen import errors
from imagen.domain.job import AttemptState, JobState
from imagen.domain.scope import EVERYTHING
from imagen.ledger.jobs.cancel_and_retry import request_cancel
from imagen.ledger.jobs.leases import end_canceled


def test_a_canceled_job_is_stopped_while_it_runs(studio: Any) -> None:
    job_id = studio.desk.submit()
    heartbeat = studio.heartbeat("one")

    def be_canceled(_request: Any, run: Any) -> None:
        request_cancel(studio.desk.ledger, EVERYTHING)
        heartbeat.beat()
        run.progress(1, 4)

    studio.backend.script = [be_canceled]

    outcome = studio.draw(heartbeat=heartbeat)

    assert outcome.state is JobState.CANCELED
    assert studio.desk.state(job_id) is JobState.CANCELED
    assert studio.desk.attempts(job_id)[0].state is AttemptState.CANCELED
    assert studio.publisher.names(job_id)[-1] == "canceled"


def test_a_canceled_job_of_a_dead_worker_is_stopped_at_the_backend(paid_studio: Any) -> None:
    job_id = paid_studio.submit_and_die()

    outcome = paid_studio.draw("two")

    assert outcome.state is JobState.CANCELED
    assert paid_studio.backend.canceled == ["paid-1"]
    assert len(paid_studio.backend.calls) == 1
    assert paid_studio.desk.attempts(job_id)[0].state is AttemptState.CANCELED


def test_a_cancel_that_the_backend_did_not_hear_is_told_again(paid_studio: Any) -> None:
    job_id = paid_studio.submit_and_die()
    paid_studio.backend.cancel_raises = errors.BackendUnavailable("down")

    assert paid_studio.draw("two").state is JobState.QUEUED
    assert end_canceled(paid_studio.desk.ledger) == 0
    paid_studio.be_due(job_id)
    paid_studio.backend.cancel_raises = None
    assert paid_studio.draw("three").state is JobState.CANCELED

    assert paid_studio.backend.canceled == ["paid-1", "paid-1"]
    assert len(paid_studio.desk.attempts(job_id)) == 1


def test_a_cancel_that_a_free_backend_never_hears_ends_the_job_all_the_same(studio: Any) -> None:
    job_id = studio.submit_and_die()
    studio.backend.cancel_raises = errors.BackendUnavailable("down")
    studio.draw("two")
    studio.desk.shift(job_id, "limited_since", -901)
    studio.be_due(job_id)

    assert studio.draw("three").state is JobState.CANCELED


def test_a_worker_that_lost_its_job_says_nothing_about_its_end(studio: Any) -> None:
    job_id = studio.desk.submit()

    def lose(_request: Any, _run: Any) -> None:
        studio.desk.expire(job_id)
        studio.reconciler().tick()
        raise errors.BackendRejected("no")

    studio.backend.script = [lose]

    outcome = studio.draw()

    assert outcome.state is JobState.RUNNING
    assert isinstance(outcome.error, errors.LeaseLost)
    assert studio.publisher.names(job_id) == ["running"]
    assert studio.desk.state(job_id) is JobState.QUEUED


def test_a_worker_that_lost_its_job_puts_nothing_off(studio: Any) -> None:
    job_id = studio.desk.submit()

    def lose(_request: Any, _run: Any) -> None:
        studio.desk.expire(job_id)
        studio.reconciler().tick()
        raise errors.BackendUnavailable("down")

    studio.backend.script = [lose]

    outcome = studio.draw()

    assert isinstance(outcome.error, errors.LeaseLost)
    assert studio.desk.job(job_id).not_before is None
