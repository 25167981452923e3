"""One rate limit for all workers: a moving window in Redis, or in this process without one."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import MovingWindowRateLimiter

from imagen.errors import RateLimited

_logger = logging.getLogger(__name__)

_REDIS_TIMEOUT_S = 1.0
# How long Redis is not asked after it failed to answer.
_REST_S = 5.0
_MIN_WAIT_S = 0.005


class SharedLimiter:
    """A ``Limiter`` (see ``imagen.domain.protocols``). Threads and, over Redis, hosts share it.

    While Redis does not answer, each process limits itself alone. Together they may then call
    too often for a while, which the provider answers with 429 and costs time only; to stop all
    work instead would make Redis a single point of failure.
    """

    def __init__(
        self,
        shared: Storage | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = MovingWindowRateLimiter(shared) if shared is not None else None
        self._sleep = sleep
        self._now_s = now_s
        self._own: MovingWindowRateLimiter | None = None
        self._own_lock = threading.Lock()
        self._shared_rests_until_s = 0.0

    def wait(self, key: str, limits: tuple[str, ...], *, timeout_s: float) -> None:
        """Block until one more call under ``key`` fits ``limits`` (such as ``600/minute``).

        Raises:
            RateLimited: it would not fit within ``timeout_s`` seconds; it says so at once.
        """
        # The shortest window first: a slot in it that a longer window then refuses is soon free
        # again.
        items = sorted((parse(limit) for limit in limits), key=lambda item: item.get_expiry())
        gives_up_s = self._now_s() + timeout_s
        while (wait_s := self._take(key, items)) > 0:
            if self._now_s() + wait_s > gives_up_s:
                raise RateLimited(
                    "the rate limit that all workers share is used up", "", retry_after_s=wait_s
                )
            # Waiting callers compute the same moment: without jitter all of them call at once.
            self._sleep(wait_s * (1 + 0.1 * random.random()))  # noqa: S311

    def _take(self, key: str, items: list[RateLimitItem]) -> float:
        """0 where the call may be made now, otherwise the seconds until the next attempt."""
        if self._shared is not None and self._now_s() >= self._shared_rests_until_s:
            try:
                return _hit_all(self._shared, key, items)
            except StorageError as exc:
                self._shared_rests_until_s = self._now_s() + _REST_S
                # The error's class alone: its text may hold the URL, and that a password.
                _logger.warning(
                    "rate_limit_not_shared", extra={"error": type(exc.storage_error).__name__}
                )
        with self._own_lock:
            if self._own is None:
                self._own = MovingWindowRateLimiter(MemoryStorage())
            return _hit_all(self._own, key, items)


def make_limiter(redis_url: str, *, now_s: Callable[[], float] = time.monotonic) -> SharedLimiter:
    """The limiter that all users of ``redis_url`` share; this process's own where it is empty.

    No I/O: an unreachable Redis is noticed at the first wait, which then goes on without it.
    """
    # Celery and `limits` write a Redis behind a Unix socket differently.
    url = redis_url.replace("redis+socket://", "redis+unix://", 1)
    url = url.replace("?virtual_host=", "?db=", 1)
    if not url.startswith(("redis://", "rediss://", "redis+unix://")):
        return SharedLimiter()
    return SharedLimiter(
        RedisStorage(
            url,
            key_prefix="imagen:limit",
            wrap_exceptions=True,
            socket_timeout=_REDIS_TIMEOUT_S,
            socket_connect_timeout=_REDIS_TIMEOUT_S,
        ),
        now_s=now_s,
    )


def _hit_all(limiter: MovingWindowRateLimiter, key: str, items: list[RateLimitItem]) -> float:
    for item in items:
        if not limiter.hit(item, key):
            opens_at = limiter.get_window_stats(item, key).reset_time
            return max(opens_at - time.time(), _MIN_WAIT_S)
    return 0.0
