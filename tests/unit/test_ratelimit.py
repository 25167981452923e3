"""All who share a limit keep to it together, and a lost Redis stops nobody."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagen.errors import RateLimited
from imagen.ratelimit import SharedLimiter, make_limiter
from tests.servers.redis_and_postgres import RedisServer

FEW = ("3/hour",)


def take_all(limiter: SharedLimiter, key: str = "key", limits: tuple[str, ...] = FEW) -> int:
    """How many calls fit right now."""
    taken = 0
    while True:
        try:
            limiter.wait(key, limits, timeout_s=0.0)
        except RateLimited:
            return taken
        taken += 1


def test_calls_beyond_the_limit_do_not_fit() -> None:
    assert take_all(make_limiter("")) == 3


def test_each_key_has_a_limit_of_its_own() -> None:
    limiter = make_limiter("")

    assert take_all(limiter, "create") == 3
    assert take_all(limiter, "call") == 3


def test_what_does_not_fit_in_time_is_said_at_once_with_the_wait() -> None:
    naps: list[float] = []
    limiter = SharedLimiter(sleep=naps.append)
    take_all(limiter)

    with pytest.raises(RateLimited) as caught:
        limiter.wait("key", FEW, timeout_s=60)

    assert 3500 < caught.value.retry_after_s <= 3600
    assert not naps


def test_a_call_that_fits_soon_is_waited_for() -> None:
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        time.sleep(seconds)

    limiter = SharedLimiter(sleep=sleep)
    take_all(limiter, limits=("2/second",))

    limiter.wait("key", ("2/second",), timeout_s=5)

    assert naps
    assert all(0 < nap <= 1.2 for nap in naps)


def test_the_shortest_window_smooths_the_longest() -> None:
    assert take_all(make_limiter(""), limits=("600/minute", "5/hour", "4/second")) == 4


def test_threads_share_it() -> None:
    limiter = make_limiter("")

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: take_all(limiter), range(8)))

    assert sum(taken) == 3


def test_processes_share_it_over_redis(redis_url: str) -> None:
    one, other = make_limiter(redis_url), make_limiter(redis_url)

    assert take_all(one) == 3
    assert take_all(other) == 0


def test_without_redis_each_process_limits_itself(caplog: pytest.LogCaptureFixture) -> None:
    limiter = make_limiter("redis://:hunter2@127.0.0.1:9/0")

    with caplog.at_level(logging.WARNING):
        taken = take_all(limiter)

    assert taken == 3
    assert [record.message for record in caplog.records] == ["rate_limit_not_shared"]
    assert "hunter2" not in str([vars(record) for record in caplog.records])


def test_a_redis_that_comes_back_is_shared_again(own_redis: RedisServer) -> None:
    now_s = [0.0]
    limiter = make_limiter(own_redis.url, now_s=lambda: now_s[0])
    take_all(limiter)
    own_redis.stop()
    alone = take_all(limiter)
    own_redis.start()
    now_s[0] += 60

    assert alone == 3
    assert take_all(limiter) == 0


@pytest.mark.parametrize("url", ["", "memory://", "amqp://127.0.0.1", "sqla+sqlite:///x"])
def test_a_broker_that_is_no_redis_limits_each_process_alone(url: str) -> None:
    assert take_all(make_limiter(url)) == 3
