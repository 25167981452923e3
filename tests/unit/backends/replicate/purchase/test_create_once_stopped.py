"""A search for a lost prediction heeds a cancel, and equal jobs each find one of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagen.backends.replicate.backend import ReplicateBackend
from imagen.domain.request import ImageRequest
from imagen.errors import (
    JobCanceled,
    LeaseLost,
)
from tests.fakes.replicate import FakeReplicate, ReplicateFault
from tests.fakes.replicate.book import Book, BookRun

Build = Callable[..., ReplicateBackend]
NewRun = Callable[..., BookRun]


@pytest.mark.parametrize("equal_rows", [20])
def test_identical_rows_each_get_one_prediction_of_their_own(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    book: Book,
    new_run: NewRun,
    equal_rows: int,
) -> None:
    fake.stage.page_size = 7
    fake.world.late_s = 0.4
    for fault in (
        ReplicateFault.LOST_BEFORE_CREATION,
        ReplicateFault.LOST_AFTER_CREATION,
        ReplicateFault.CREATED_AFTER_CUT,
        ReplicateFault.ERROR_AFTER_CREATION,
        ReplicateFault.ERROR_BEFORE_CREATION,
        ReplicateFault.LOST_AFTER_CREATION,
    ):
        fake.inject(fault)
    # As in two processes, which share no locks.
    backends = [build(settle_s=0.6), build(settle_s=0.6)]
    runs = [new_run() for _ in range(equal_rows)]

    with ThreadPoolExecutor(equal_rows) as pool:
        list(
            pool.map(
                lambda pair: backends[pair[0] % 2].generate(request_, pair[1]), enumerate(runs)
            )
        )

    assert fake.world.created_count() == equal_rows
    assert len(book.owners) == equal_rows
    assert len({run.external_ids[-1] for run in runs}) == equal_rows


def test_a_cancel_while_the_outcome_is_unknown_cancels_what_is_found(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.world.draw_s = 30
    fake.inject(ReplicateFault.LOST_AFTER_CREATION)
    reason = JobCanceled("canceled")

    def cancel(*_: int) -> None:
        if run.intended_s is not None:
            raise reason

    run = new_run(on_progress=cancel)

    with pytest.raises(JobCanceled) as caught:
        build().generate(request_, run)

    assert caught.value is reason
    (only,) = fake.stats()["predictions"]
    assert only["status"] == "canceled"


def test_a_lost_lease_while_the_outcome_is_unknown_touches_nothing(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.LOST_AFTER_CREATION)

    def lose(*_: int) -> None:
        if run.intended_s is not None:
            raise LeaseLost("lost")

    run = new_run(on_progress=lose)

    with pytest.raises(LeaseLost):
        build().generate(request_, run)

    assert not run.external_ids
    assert fake.count_calls("POST", "/cancel") == 0


def test_a_thread_that_waits_for_a_look_up_still_notices_a_cancel(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    """The second of two equal searches ticks while it waits for the first."""
    fake.inject(ReplicateFault.LOST_AFTER_CREATION, times=2)
    ticks = threading.Event()
    backend = build(settle_s=0.1)
    runs = [new_run(on_progress=lambda *_: ticks.set()), new_run()]

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda run: backend.generate(request_, run), runs))

    assert ticks.is_set()
    assert fake.world.created_count() == 2
