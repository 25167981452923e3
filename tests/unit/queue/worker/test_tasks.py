"""The tasks decide one thing only: what of an outcome is Celery's business."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from celery.exceptions import Ignore
from celery.exceptions import Retry as CeleryRetry
from uuid_utils.compat import uuid7

from imagen.domain.job import AttemptDisposition, Job, JobState, Lane, Output
from imagen.domain.request import ImageRequest
from imagen.errors import BackendRejected, BackendUnavailable, ImagenError, LedgerMismatch
from imagen.queue.broker.app import make_app
from imagen.queue.broker.routing import DELIVER_TASK, GENERATE_TASK
from imagen.queue.worker.tasks import MAX_COUNTDOWN_S, add_tasks
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.draw.retry_policy import Retry

JOB: UUID = uuid7()
JOB_ROW = Job(
    id=JOB,
    state=JobState.QUEUED,
    request=ImageRequest(prompt="a fox", styled_prompt="a fox", width=64, height=64, seed=1),
    output=Output("/tmp", "fox.png"),
    backend="mock",
    queue="gpu",
    lane=Lane.INTERACTIVE,
    caller="anna",
    delivery_host="studio",
    created_at=datetime.now(UTC),
)


@dataclass
class Stand:
    """In the place of a worker and of its parts."""

    outcome: ClaimOutcome | None = None
    delivered: list[ClaimOutcome] = field(default_factory=list)
    named: list[str | None] = field(default_factory=list)
    refusal: ImagenError | None = None
    row: Any = None

    @property
    def drawing(self) -> Stand:
        return self

    @property
    def deliveries(self) -> Stand:
        return self

    def job(self, _job_id: UUID) -> Any:
        return self.row

    leaves_backends_out: bool = False
    passed_on: list[tuple[str, str, str]] = field(default_factory=list)

    def pass_on(self, queue: str, task_id: str, label: str, *, retries: int) -> None:
        assert retries == 0
        self.passed_on.append((queue, task_id, label))

    def check_ledger(self, named: str | None) -> None:
        self.named.append(named)
        if self.refusal is not None:
            raise self.refusal

    def draw_one(self) -> ClaimOutcome | None:
        return self.outcome

    def deliver_all(self) -> list[ClaimOutcome]:
        return self.delivered


@pytest.fixture
def run(publisher):
    """Runs a task as a worker would that got this message."""

    def run(stand: Stand, name: str = GENERATE_TASK, *, app: Any = None, **headers: Any) -> Any:
        app = app or make_app(publisher.broker_url)
        add_tasks(app, lambda: stand)
        task = app.tasks[name]
        task.push_request(
            id=str(JOB),
            args=["mock 64x64 fox"],
            kwargs={},
            retries=0,
            called_directly=False,
            imagen_ledger="the ledger",
            **headers,
            delivery_info={"exchange": "", "routing_key": "gpu"},
        )
        try:
            return task.run("mock 64x64 fox")
        finally:
            task.pop_request()
            app.close()

    return run


def test_a_wakeup_for_nothing_is_no_failure(run):
    assert run(Stand(None)) == {"state": "nothing to do"}


def _row(state: JobState, code: str | None = None) -> Job:
    return replace(JOB_ROW, state=state, error_code=code, error_message=code and "not now")


def test_a_wakeup_too_many_of_a_failed_job_tells_the_failure_again(run):
    with pytest.raises(BackendRejected, match="not now"):
        run(Stand(None, row=_row(JobState.FAILED, BackendRejected.code)))


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
def test_a_wakeup_too_many_of_a_job_on_its_way_tells_nothing(run, state):
    with pytest.raises(Ignore):
        run(Stand(None, row=_row(state)))


def test_a_wakeup_too_many_of_a_job_that_was_put_back_tells_why(run, mailbox):
    with pytest.raises(CeleryRetry) as retried:
        run(Stand(None, row=_row(JobState.QUEUED, BackendUnavailable.code)))

    assert isinstance(retried.value.exc, BackendUnavailable)
    assert mailbox.ids("gpu") == []


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.GENERATED, JobState.CANCELED])
def test_a_wakeup_too_many_of_a_job_that_was_drawn_is_no_failure(run, state):
    assert run(Stand(None, row=_row(state))) == {"state": "nothing to do"}


def test_a_job_that_another_jobs_wakeup_drew_is_put_back_without_a_message(run, mailbox):
    with pytest.raises(CeleryRetry):
        run(Stand(replace(_put_off(5.0), job_id=uuid7())))

    assert mailbox.ids("gpu") == []


def test_a_wakeup_that_another_worker_may_use_is_sent_on_once(run):
    stand = Stand(leaves_backends_out=True)

    run(stand)
    run(stand, imagen_passed_on=True)

    assert stand.passed_on == [("gpu", str(JOB), "mock 64x64 fox")]


def test_a_wakeup_that_nobody_else_could_use_either_is_not_sent_on(run):
    stand = Stand(leaves_backends_out=False)

    run(stand)

    assert stand.passed_on == []


def test_the_ledger_that_a_message_names_is_checked_before_anything_is_drawn(run):
    stand = Stand(refusal=LedgerMismatch("another ledger", "point elsewhere"))

    with pytest.raises(LedgerMismatch):
        run(stand)

    assert stand.named == ["the ledger"]


def test_a_drawn_job_tells_its_id_state_and_seconds_and_nothing_else(run):
    told = run(Stand(ClaimOutcome(JOB, JobState.GENERATED, 1.23456)))

    assert told == {"job": str(JOB), "state": "generated", "seconds": 1.235}


def test_a_failed_job_is_a_failure_in_flower(run):
    with pytest.raises(BackendRejected):
        run(Stand(ClaimOutcome(JOB, JobState.FAILED, error=BackendRejected("no"))))


def _put_off(wait_s: float) -> ClaimOutcome:
    error = BackendUnavailable("away")
    return ClaimOutcome(
        JOB, JobState.QUEUED, error=error, retry=Retry(wait_s, AttemptDisposition.END)
    )


def test_a_short_wait_is_celerys_own_retry(run, mailbox):
    with pytest.raises(CeleryRetry) as retried:
        run(Stand(_put_off(5.0)))

    assert retried.value.when == 5.0
    assert mailbox.ids("gpu") == [str(JOB)]


@pytest.mark.parametrize(
    "retry",
    [
        Retry(MAX_COUNTDOWN_S + 1, AttemptDisposition.END),
        Retry(0.0, AttemptDisposition.KEEP, pause_s=900.0),
    ],
    ids=["long", "paused"],
)
def test_a_long_wait_is_a_retry_in_flower_and_stays_in_the_row_alone(run, mailbox, retry):
    with pytest.raises(CeleryRetry) as retried:
        run(Stand(replace(_put_off(1.0), retry=retry)))

    assert isinstance(retried.value.exc, BackendUnavailable)
    assert mailbox.ids("gpu") == []


def test_a_retry_that_cannot_be_sent_is_left_to_the_row(run, deaf_publisher):
    told = run(Stand(_put_off(5.0)), app=deaf_publisher.app)

    assert told["state"] == "queued"


def test_a_delivery_tells_how_many_came_to_which_end(run):
    delivered = [ClaimOutcome(uuid7(), JobState.SUCCEEDED) for _ in range(3)]
    failed = ClaimOutcome(uuid7(), JobState.FAILED)

    told = run(Stand(delivered=[*delivered, failed]), DELIVER_TASK)

    assert told == {"succeeded": 3, "failed": 1}
