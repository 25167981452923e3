"""A fake Supabase, and the two clients that speak to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from imagen.cloud.rest import RestClient
from imagen.cloud.settings import SupabaseSettings, read_settings
from imagen.cloud.storage import Storage
from tests.fakes.supabase import FakeSupabase


@pytest.fixture
def fake() -> Iterator[FakeSupabase]:
    with FakeSupabase() as server:
        yield server


@pytest.fixture
def settings(fake: FakeSupabase) -> SupabaseSettings:
    found = read_settings(fake.env)
    assert found is not None
    return found


@pytest.fixture
def new_storage(fake: FakeSupabase) -> Iterator[Callable[..., Storage]]:
    """Makes a Storage client; ``key`` other than the good one, ``read_timeout_s`` a short one."""
    made: list[Storage] = []

    def _new(key: str | None = None, **options: Any) -> Storage:
        made.append(Storage(SupabaseSettings(fake.url, key or fake.key), **options))
        return made[-1]

    yield _new
    for each in made:
        each.close()


@pytest.fixture
def new_rest(fake: FakeSupabase) -> Iterator[Callable[..., RestClient]]:
    """Makes a REST client, as ``new_storage``."""
    made: list[RestClient] = []

    def _new(key: str | None = None, **options: Any) -> RestClient:
        made.append(RestClient(SupabaseSettings(fake.url, key or fake.key), **options))
        return made[-1]

    yield _new
    for each in made:
        each.close()


@pytest.fixture
def storage(new_storage: Callable[..., Storage]) -> Storage:
    return new_storage()


@pytest.fixture
def rest(new_rest: Callable[..., RestClient]) -> RestClient:
    return new_rest()
