"""Addresses of Redis: shown without secrets, and known to be near or far."""

from __future__ import annotations

import pytest
import redis

from imagen.errors import BrokerUnavailable
from imagen.queue.broker.connection import connect, is_loopback, shown_url, unavailable


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:test-password@example.com:6379/0", "redis://example.com:6379/0"),
        ("rediss://someone:p%40ss@example.com/0?ssl_cert_reqs=none", "rediss://example.com/0"),
    ],
)
def test_an_address_is_shown_without_its_password(url, shown):
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("url", "is_near"),
    [
        ("redis://localhost:6379/0", True),
        ("redis://127.0.0.1/0", True),
        ("redis://[::1]:6379/0", True),
        ("redis:///0", True),
        ("redis+socket:///run/redis.sock", True),
        ("unix:///run/redis.sock", True),
        ("redis://10.0.0.1:6379/0", False),
        ("rediss://redis.example.com:6380/0", False),
    ],
)
def test_only_an_address_of_this_machine_is_near(url, is_near):
    assert is_loopback(url) is is_near


def test_a_redis_that_is_away_is_named_without_its_password():
    url = "redis://:test-password@127.0.0.1:1/0"
    with connect(url) as client, pytest.raises(redis.RedisError) as away:
        client.ping()

    error = unavailable(url, away.value)

    assert isinstance(error, BrokerUnavailable)
    assert "redis://127.0.0.1:1/0" in error.message
    assert "IMAGEN_BROKER_URL" in error.hint
    assert "test-password" not in str(error)


def test_the_same_address_is_good_for_both_ways_of_spelling_a_socket():
    with connect("redis+socket:///nowhere/redis.sock") as client:
        assert client.connection_pool.connection_kwargs["path"] == "/nowhere/redis.sock"
