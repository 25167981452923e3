"""A refused create call raises the error for its reason, or is repeated after a 429."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from imagen.backends.replicate.backend import ReplicateBackend
from imagen.domain.request import ImageRequest
from imagen.errors import (
    BackendRejected,
    BackendUnavailable,
    CredentialError,
    LeaseLost,
    OutOfCredit,
    RateLimited,
)
from tests.fakes.replicate import FakeReplicate, ReplicateFault
from tests.fakes.replicate.book import Book, BookRun

Build = Callable[..., ReplicateBackend]
NewRun = Callable[..., BookRun]


def test_a_process_that_was_stopped_before_sending_sends_nothing_when_it_wakes_up(
    build: Build, fake: FakeReplicate, request_: ImageRequest, book: Book
) -> None:
    class Stopped(BookRun):
        """Suspended for more than a third of the call's timeout, right after the commit."""

        def intend(self, *, timeout_s: float) -> None:
            super().intend(timeout_s=timeout_s)
            time.sleep(timeout_s / 2)

    with pytest.raises(BackendUnavailable, match="too late to be sent"):
        build(post_timeout_s=0.3).generate(request_, Stopped(book=book))

    assert fake.world.created_count() == 0


def test_no_connection_is_certainly_no_creation(
    build: Build, request_: ImageRequest, new_run: NewRun
) -> None:
    run = new_run()

    with pytest.raises(BackendUnavailable, match="connection refused"):
        build(base_url="http://127.0.0.1:9").generate(request_, run)

    assert not run.external_ids


@pytest.mark.parametrize(
    "fault",
    [
        ReplicateFault.THROTTLED,
        ReplicateFault.THROTTLED_BY_HEADER,
        ReplicateFault.THROTTLED_BY_TEXT,
    ],
)
def test_a_429_is_waited_out_as_told_at_least_three_times(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
) -> None:
    fake.stage.retry_after_s = 0.05
    fake.inject(fault, times=3)

    build(patience_s=0.1).generate(request_, new_run())

    assert fake.world.created_count() == 1
    assert fake.count_calls("POST", "/predictions") == 4


def test_a_429_longer_than_patience_is_left_to_the_queue(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.stage.retry_after_s = 77
    fake.inject(ReplicateFault.THROTTLED)

    with pytest.raises(RateLimited) as caught:
        build().generate(request_, new_run())

    assert caught.value.retry_after_s == 77


def test_a_429_that_names_no_time_is_backed_off_from(
    build: Build, fake: FakeReplicate, request_: ImageRequest, new_run: NewRun
) -> None:
    fake.inject(ReplicateFault.THROTTLED_SILENTLY)

    with pytest.raises(RateLimited) as caught:
        build(patience_s=1.0).generate(request_, new_run())

    assert caught.value.retry_after_s == 2.0


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (ReplicateFault.UNAUTHENTICATED, CredentialError, "REPLICATE_API_TOKEN"),
        (ReplicateFault.NO_CREDIT, OutOfCredit, "insufficient credit"),
        (ReplicateFault.NOT_FOUND, BackendRejected, "owner/name:version"),
        (ReplicateFault.INVALID_INPUT, BackendRejected, "input.x"),
    ],
)
def test_a_refusal_is_told_as_what_it_is_and_sent_once(
    build: Build,
    fake: FakeReplicate,
    request_: ImageRequest,
    new_run: NewRun,
    fault: ReplicateFault,
    error: type[Exception],
    words: str,
) -> None:
    fake.inject(fault)

    with pytest.raises(error, match=words):
        build().generate(request_, new_run())

    assert fake.count_calls("POST", "/predictions") == 1


def test_a_short_lease_sends_nothing(
    build: Build, fake: FakeReplicate, request_: ImageRequest, book: Book
) -> None:
    class Short(BookRun):
        def intend(self, *, timeout_s: float) -> None:
            raise LeaseLost("too short")

    with pytest.raises(LeaseLost):
        build().generate(request_, Short(book=book))

    assert fake.count_calls("POST", "/predictions") == 0
