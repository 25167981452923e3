"""What a backend drew and billed is on record once, whether or not its image gets here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from imagen import errors
from imagen.backends.adapter import AdapterContext
from imagen.backends.replicate import adapter
from imagen.domain.cost import UNKNOWN_COST, Bill, Cost
from imagen.domain.job import AttemptState, JobState
from imagen.domain.scope import EVERYTHING
from imagen.ledger.jobs.cancel_and_retry import retry_jobs
from imagen.ledger.outbox.outbox import count_pending
from imagen.ledger.queries.history import AttemptHistory
from imagen.ledger.queries.usage_rows import read_usage
from imagen.ratelimit import SharedLimiter
from tests.fakes.replicate import FakeReplicate, ReplicateFault

PRICE = Cost(Decimal("0.003"), "list")
BILL = Bill(PRICE, model="flux", seed=7, steps=4)


@pytest.fixture
def fake() -> Iterator[FakeReplicate]:
    with FakeReplicate(draw_s=0.02) as server:
        yield server


@pytest.fixture
def open_backend(studio: Any, fake: FakeReplicate) -> Iterator[Callable[..., Any]]:
    """Gives the studio a Replicate backend that speaks to the fake."""
    made: list[Any] = []

    def _open(**settings: Any) -> Any:
        usual: dict[str, Any] = {
            "model": "black-forest-labs/flux-schnell",
            "base_url": fake.url,
            "download_hosts": fake.download_hosts,
            "post_timeout_s": 1.0,
            "settle_s": 0.2,
            "patience_s": 3.0,
        }
        history = AttemptHistory(studio.desk.ledger)
        env = {"REPLICATE_API_TOKEN": "test-token"}
        context = AdapterContext(env, SharedLimiter(), history, history)
        model = adapter.settings_type.model_validate({**usual, **settings})
        studio.backends.by_name["mock"] = adapter.build("mock", model, context)
        made.append(studio.backends.by_name["mock"])
        return made[-1]

    yield _open
    for backend in made:
        backend.close()


def usage(studio: Any) -> list[Any]:
    return list(read_usage(studio.desk.ledger, since=None, until=None))


def test_a_refused_output_is_on_record_and_fetched_by_a_retry_once_the_cause_is_mended(
    studio: Any, fake: FakeReplicate, open_backend: Callable[..., Any]
) -> None:
    open_backend(download_hosts=("replicate.delivery",))
    job_id = studio.desk.submit()

    refused = studio.draw()

    assert (refused.state, refused.error.code) == (JobState.FAILED, "output_refused")
    [row] = usage(studio)
    [attempt] = studio.desk.attempts(job_id)
    assert attempt.external_id == next(iter(fake.world.made))
    assert (row.attempt_id, row.cost_usd) == (attempt.id, Decimal("0.003"))
    assert (row.model, row.seed) == ("black-forest-labs/flux-schnell", attempt.seed)

    open_backend()
    retry_jobs(studio.desk.ledger, EVERYTHING)
    assert studio.draw("two").state is JobState.GENERATED
    [delivered] = studio.deliver("two")

    assert delivered.state is JobState.SUCCEEDED
    assert fake.world.created_count() == 1
    assert [each.attempt_id for each in usage(studio)] == [attempt.id]
    assert len(studio.desk.attempts(job_id)) == 1


@pytest.mark.parametrize(
    "fault",
    [ReplicateFault.TEXT_OUTPUT, ReplicateFault.OBJECT_OUTPUT, ReplicateFault.OUTPUT_ELSEWHERE],
)
def test_a_retry_of_an_output_that_is_still_refused_pays_nothing(
    studio: Any, fake: FakeReplicate, open_backend: Callable[..., Any], fault: ReplicateFault
) -> None:
    open_backend()
    fake.inject(fault)
    studio.desk.submit()

    for _ in range(3):
        assert studio.draw().error.code == "output_refused"
        retry_jobs(studio.desk.ledger, EVERYTHING)

    assert fake.world.created_count() == 1
    assert len(usage(studio)) == 1


def test_an_image_that_moderation_left_out_is_on_record(
    studio: Any, fake: FakeReplicate, open_backend: Callable[..., Any]
) -> None:
    open_backend()
    fake.inject(ReplicateFault.NO_FILES)
    studio.desk.submit()

    assert studio.draw().error.code == "content_rejected"

    assert len(usage(studio)) == 1


def test_an_image_that_is_delivered_has_one_usage_row(
    studio: Any, open_backend: Callable[..., Any]
) -> None:
    open_backend()
    studio.desk.submit()
    studio.draw()
    assert usage(studio) == []

    studio.deliver()

    assert len(usage(studio)) == 1


def test_a_cancel_that_came_too_late_records_what_was_drawn(studio: Any) -> None:
    studio.backend.repeat_is_free, studio.backend.cost = False, PRICE
    job_id = studio.desk.submit()

    def drawn_before_the_cancel(_request: Any, run: Any) -> None:
        run.submitted("paid-1", place="shop")
        run.billed(BILL)
        raise errors.JobCanceled("canceled")

    studio.backend.script = [drawn_before_the_cancel]

    outcome = studio.draw()

    assert outcome.state is JobState.CANCELED
    assert "had been drawn, and is paid for" in str(outcome.error)
    [row] = usage(studio)
    [attempt] = studio.desk.attempts(job_id)
    assert (row.attempt_id, row.cost_usd, row.model) == (attempt.id, PRICE.usd, "flux")
    assert attempt.state is AttemptState.CANCELED


def submit_paid_and_die(studio: Any) -> Any:
    """A paid job of a worker that is dead, canceled since."""
    studio.backend.repeat_is_free, studio.backend.cost = False, PRICE
    return studio.submit_and_die()


def test_canceling_for_a_dead_worker_records_what_it_had_drawn(studio: Any) -> None:
    submit_paid_and_die(studio)
    studio.backend.cancel_finds = Bill(UNKNOWN_COST, model="flux")

    outcome = studio.draw("two")

    assert outcome.state is JobState.CANCELED
    assert "had been drawn, and is paid for" in str(outcome.error)
    [row] = usage(studio)
    # The price that the backend usually asks, where the bill names none.
    assert (row.cost_usd, row.model) == (PRICE.usd, "flux")


def test_a_paid_cancel_that_is_never_confirmed_ends_as_unknown_with_its_id(studio: Any) -> None:
    job_id = submit_paid_and_die(studio)
    studio.backend.cancel_raises = errors.BackendUnavailable("not confirmed", "it may go on")
    assert studio.draw("two").state is JobState.QUEUED
    studio.desk.shift(job_id, "limited_since", -901)
    studio.be_due(job_id)

    outcome = studio.draw("three")

    assert (outcome.state, outcome.error.code) == (JobState.FAILED, "outcome_unknown")
    assert "not confirmed" in str(outcome.error)
    [attempt] = studio.desk.attempts(job_id)
    assert (attempt.external_id, attempt.finished_at) == ("paid-1", None)


def test_a_free_backend_writes_no_usage_for_what_was_not_delivered(studio: Any) -> None:
    studio.desk.submit()

    def refuse(_request: Any, run: Any) -> None:
        run.submitted("free-1", place="shop")
        run.billed(BILL)
        raise errors.OutputRefused("no image")

    studio.backend.script = [refuse]

    studio.draw()

    assert usage(studio) == []


def test_usage_that_is_sent_elsewhere_is_put_into_the_outbox_with_it(studio: Any) -> None:
    studio.backend.repeat_is_free, studio.backend.cost = False, PRICE
    studio.sends_usage = True
    studio.desk.submit()

    def refuse(_request: Any, run: Any) -> None:
        run.submitted("paid-1", place="shop")
        run.billed(BILL)
        raise errors.OutputRefused("no image")

    studio.backend.script = [refuse]

    studio.draw()

    assert count_pending(studio.desk.ledger) == {"usage": 1}


def test_a_bug_after_a_paid_call_leaves_its_outcome_open_and_keeps_its_id(studio: Any) -> None:
    studio.backend.repeat_is_free, studio.backend.cost = False, PRICE
    job_id = studio.desk.submit()

    def stumble(_request: Any, run: Any) -> None:
        run.intend(timeout_s=1)
        run.submitted("paid-1", place="shop")
        raise RecursionError

    studio.backend.script = [stumble]

    assert studio.draw().error.code == "outcome_unknown"
    [attempt] = studio.desk.attempts(job_id)
    assert (attempt.external_id, attempt.finished_at) == ("paid-1", None)


def test_a_bug_before_anything_was_sent_is_told_as_one(studio: Any) -> None:
    studio.backend.repeat_is_free = False
    studio.desk.submit()
    studio.backend.script = [ZeroDivisionError()]

    assert studio.draw().error.code == "backend_rejected"
