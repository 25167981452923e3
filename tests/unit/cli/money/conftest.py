"""A backend whose images cost money, and a fake Supabase, for the commands about money."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.supabase import FakeSupabase

OWNER = "6f9619ff-8b86-4011-b42d-00c04fc964ff"


@pytest.fixture
def paid(configure: Callable[[str], Path]) -> str:
    """The configuration, with a backend that costs money and an owner for the copies."""
    config = f"owner_user_id: {OWNER}\nbackends:\n  paid: {{type: mock, cost_usd: 0.003}}\n"
    configure(config)
    return config


@pytest.fixture
def fake() -> Iterator[FakeSupabase]:
    with FakeSupabase() as running:
        yield running


@pytest.fixture
def away(fake: FakeSupabase) -> FakeSupabase:
    """A project that does not answer."""
    fake.go_down()
    return fake
