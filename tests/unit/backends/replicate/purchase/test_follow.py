"""A prediction is followed to its end, or canceled at its deadline or with its job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from imagen.backends.replicate.backend import ReplicateBackend
from imagen.domain.drawn import Work
from imagen.domain.request import ImageRequest
from imagen.errors import (
    BackendRejected,
    BackendUnavailable,
    ContentRejected,
    JobCanceled,
    JobTimeout,
    LeaseLost,
    OutcomeUnknown,
)
from tests.fakes.replicate import FakeReplicate, ReplicateFault
from tests.fakes.replicate.book import BookRun

Build = Callable[..., ReplicateBackend]
NewRun = Callable[..., BookRun]


def only(fake: FakeReplicate) -> dict[str, object]:
    (one,) = fake.stats()["predictions"]
    return dict(one)


@pytest.mark.parametrize(
    "fault", [ReplicateFault.POLL_ERROR, ReplicateFault.POLL_LOST, ReplicateFault.POLL_THROTTLED]
)
def test_a_failed_poll_is_not_a_failed_prediction(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
) -> None:
    fake.inject(fault)

    drawn = build().generate(request_, new_run())

    assert drawn.data
    assert fake.world.created_count() == 1


def test_a_prediction_that_cannot_be_read_for_long_is_asked_for_later_by_its_id(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.POLL_ERROR, times=99)

    with pytest.raises(OutcomeUnknown) as caught:
        build(patience_s=0.3).generate(request_, new_run())

    assert caught.value.look_again_s > 0


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (ReplicateFault.MODERATED, ContentRejected),
        (ReplicateFault.NSFW, ContentRejected),
        (ReplicateFault.INTERRUPTED, BackendUnavailable),
        (ReplicateFault.SILENT_FAILURE, BackendUnavailable),
        (ReplicateFault.ABORTED, BackendUnavailable),
        (ReplicateFault.BROKEN, BackendRejected),
        (ReplicateFault.CANCELED_BY_OTHERS, BackendRejected),
    ],
)
def test_each_bad_end_is_told_as_what_it_means_to_the_queue(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
    error: type[Exception],
) -> None:
    fake.inject(fault)

    with pytest.raises(error) as caught:
        build().generate(request_, new_run())

    assert type(caught.value) is error
    assert "fox" not in str(caught.value)


def test_a_status_that_no_document_names_is_waited_through(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.world.draw_s = 0.2
    fake.inject(ReplicateFault.STRANGE_STATUS)

    assert build().generate(request_, new_run()).data


@pytest.mark.parametrize(
    ("fault", "settings", "status"),
    [
        (ReplicateFault.NEVER_ENDS, {"timeout_s": 0.2}, "canceled"),
        (ReplicateFault.NEVER_STARTS, {"start_timeout_s": 0.2}, "aborted"),
    ],
)
def test_the_deadline_cancels_the_prediction(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
    settings: dict[str, float],
    status: str,
) -> None:
    fake.inject(fault)

    with pytest.raises(JobTimeout) as caught:
        build(**settings).generate(request_, new_run())

    assert "timeout_s" in str(caught.value)
    assert only(fake)["status"] == status


def test_time_in_the_queue_does_not_count_as_running(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.world.queue_s = 0.6

    drawn = build(timeout_s=0.4).generate(request_, new_run())

    assert drawn.data


def test_a_cancel_really_cancels(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.world.draw_s = 60
    reason = JobCanceled("canceled")

    def cancel(*_: int) -> None:
        if run.external_ids:
            raise reason

    run = new_run(on_progress=cancel)

    with pytest.raises(JobCanceled) as caught:
        build().generate(request_, run)

    assert caught.value is reason
    assert only(fake)["status"] == "canceled"


def test_a_lost_lease_leaves_the_prediction_to_its_new_holder(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.world.draw_s = 0.5

    def lose(*_: int) -> None:
        if run.external_ids:
            raise LeaseLost("lost")

    run = new_run(on_progress=lose)
    backend = build()

    with pytest.raises(LeaseLost):
        backend.generate(request_, run)

    assert fake.count_calls("POST", "/cancel") == 0
    assert backend.generate(request_, run.resumed()).data
    assert fake.world.created_count() == 1


def test_progress_is_told_each_second_however_long_the_next_poll_is_off(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.world.draw_s = 1.5
    run = new_run()

    build().generate(request_, run)

    assert len(run.of_kind("progress")) >= 3


def test_the_second_of_its_kind_is_polled_around_its_expected_end(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.world.draw_s = 0.6
    backend = build()
    for _ in range(3):
        backend.generate(request_, new_run())

    backend.generate(request_, new_run())

    last = fake.stats()["predictions"][-1]
    assert last["polls"] <= 6


def test_the_end_is_expected_by_model_steps_and_size(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    expectation: Any,
) -> None:
    backend = build()
    for request in (request_, request_, replace(request_, steps=1)):
        backend.generate(request, new_run())
    model = "black-forest-labs/flux-schnell"

    # The second one of a kind is expected by what this process has measured.
    assert expectation.asked == [Work(model, 4, 512, 512), Work(model, 1, 512, 512)]


def test_canceling_from_outside_is_idempotent(
    build: Build, fake: FakeReplicate, request_: ImageRequest
) -> None:
    one = fake.world.create("acme/x", {"prompt": "x"}, fault=ReplicateFault.NEVER_ENDS)
    backend = build()

    for _ in range(2):
        backend.cancel(one.id)
        backend.cancel("no-such-prediction")

    assert only(fake)["status"] == "canceled"
