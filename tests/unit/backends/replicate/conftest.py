"""Fixtures: a fake Replicate, and backends that are connected to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from imagen.backends.adapter import AdapterContext
from imagen.backends.replicate import adapter
from imagen.backends.replicate.backend import ReplicateBackend
from imagen.domain.request import ImageRequest
from imagen.ratelimit import SharedLimiter
from tests.fakes.replicate import FakeReplicate
from tests.fakes.replicate.book import Book, BookRun

TOKEN = "test-token"


@dataclass
class Expectation:
    """Durations as from a ledger; ``asked`` are the kinds of work that were asked for."""

    seconds: float | None = None
    asked: list[object] = field(default_factory=list)

    def expected_s(self, backend: str, work: object = None) -> float | None:
        self.asked.append(work)
        return self.seconds


@pytest.fixture
def fake() -> Iterator[FakeReplicate]:
    with FakeReplicate(draw_s=0.02) as server:
        yield server


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def new_run(book: Book) -> Callable[..., BookRun]:
    """Makes a run of a new attempt in the test's book."""
    return lambda **options: BookRun(book=book, **options)


@pytest.fixture
def expectation() -> Expectation:
    return Expectation(0.02)


@pytest.fixture
def build(
    fake: FakeReplicate, book: Book, expectation: Expectation
) -> Iterator[Callable[..., ReplicateBackend]]:
    """Makes a backend that is connected to the fake, with short timeouts."""
    made: list[ReplicateBackend] = []

    def _build(*, env: dict[str, str] | None = None, **settings: Any) -> ReplicateBackend:
        usual: dict[str, Any] = {
            "model": "black-forest-labs/flux-schnell",
            "base_url": fake.url,
            "download_hosts": fake.download_hosts,
            "post_timeout_s": 1.0,
            "settle_s": 0.2,
            "patience_s": 3.0,
        }
        context = AdapterContext(
            env={"REPLICATE_API_TOKEN": TOKEN} if env is None else env,
            limiter=SharedLimiter(),
            durations=expectation,
            attempts=book,
        )
        model = adapter.settings_type.model_validate({**usual, **settings})
        backend = adapter.build("cloud-fox", model, context)
        assert isinstance(backend, ReplicateBackend)
        made.append(backend)
        return backend

    yield _build
    for backend in made:
        backend.close()


@pytest.fixture
def request_() -> ImageRequest:
    """A request of schnell's smaller size, ``megapixels: "0.25"``."""
    return draft()


def draft(**changes: Any) -> ImageRequest:
    """A small request with a prompt that no other text contains by chance."""
    usual: dict[str, Any] = {
        "prompt": "a vermilion fox",
        "styled_prompt": "a vermilion fox",
        "width": 512,
        "height": 512,
        "seed": 7,
        "steps": 4,
    }
    return ImageRequest(**{**usual, **changes})
