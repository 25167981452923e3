"""A create call is over in time after its intent, as its successor counts from the intent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar, NoReturn

import pytest

from imagen.backends.replicate.api.client import Client
from imagen.backends.replicate.backend import ReplicateBackend
from imagen.domain.request import ImageRequest
from imagen.errors import BackendUnavailable
from imagen.http.exchange import Unanswered
from tests.fakes.replicate import FakeReplicate
from tests.fakes.replicate.book import Book, BookRun

Build = Callable[..., ReplicateBackend]


class SlowlyIntended(BookRun):
    """A run whose commit of an intent takes ``TAKES_S``."""

    TAKES_S: ClassVar[float] = 0.05

    def intend(self, *, timeout_s: float) -> None:
        super().intend(timeout_s=timeout_s)
        time.sleep(self.TAKES_S)


def test_a_process_that_is_stopped_while_it_announces_a_call_sends_nothing(
    build: Build, fake: FakeReplicate, request_: ImageRequest, book: Book
) -> None:
    run = SlowlyIntended(book=book)

    with pytest.raises(BackendUnavailable, match="too late to be sent"):
        build(post_timeout_s=2 * SlowlyIntended.TAKES_S).generate(request_, run)

    assert fake.count_calls("POST", "/predictions") == 0


def test_a_call_is_over_when_its_time_since_the_intent_is(
    build: Build, request_: ImageRequest, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that takes over knows only the time of the intent."""
    timeouts_s: list[float] = []

    def note(*_: object, timeout_s: float, **_options: object) -> NoReturn:
        timeouts_s.append(timeout_s)
        raise Unanswered("not asked", was_sent=False)

    backend = build(post_timeout_s=60.0)
    monkeypatch.setattr(Client, "post", note)

    with pytest.raises(BackendUnavailable):
        backend.generate(request_, SlowlyIntended(book=book))

    [timeout_s] = timeouts_s
    assert timeout_s <= 60.0 - SlowlyIntended.TAKES_S
