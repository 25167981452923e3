"""The Redis connection beside Celery's own: for events, queue lengths and keys of wake-ups."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from imagen.errors import BrokerUnavailable


def connect(broker_url: str) -> redis.Redis:
    """A thread-safe client; connects at the first command, and gives up after 3 s."""
    url = _redis_url(broker_url)
    # Unix sockets have no keepalive, and redis-py refuses the option for them.
    only_tcp: dict[str, Any] = {} if url.startswith("unix://") else {"socket_keepalive": True}
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=3,
        socket_timeout=5,
        health_check_interval=25,
        # One retry, at once: a pooled connection may have died since its last use.
        retry=Retry(NoBackoff(), 1),
        **only_tcp,
    )


def ping(broker_url: str) -> str:
    """The version and the address of Redis, for people.

    Raises:
        BrokerUnavailable: it does not answer.
    """
    try:
        facts = connect(broker_url).info("server")
    except redis.RedisError as error:
        raise unavailable(broker_url, error) from error
    return f"Redis {facts['redis_version']} at {shown_url(broker_url)}"


def unavailable(broker_url: str, error: Exception) -> BrokerUnavailable:
    """The error to show for one of redis-py or kombu; without the password."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return BrokerUnavailable(
        f"Redis at {shown_url(broker_url)} is unreachable: {reason}",
        "is it running? it is set by IMAGEN_BROKER_URL or queue.broker_url",
    )


def shown_url(broker_url: str) -> str:
    """The address without user and password."""
    parts = urlsplit(broker_url)
    host = parts.netloc.rpartition("@")[2]
    # urlunsplit would leave out the // where there is no host.
    return f"{parts.scheme}://{host}{parts.path}"


def is_loopback(broker_url: str) -> bool:
    """Whether the broker is on this machine, as far as its address says."""
    parts = urlsplit(broker_url)
    if parts.scheme in ("redis+socket", "unix"):
        return True
    return (parts.hostname or "localhost") in ("localhost", "127.0.0.1", "::1")


def _redis_url(broker_url: str) -> str:
    """The address as redis-py wants it: kombu spells a Unix socket and its database differently."""
    if not broker_url.startswith("redis+socket://"):
        return broker_url
    return broker_url.replace("redis+socket://", "unix://", 1).replace("?virtual_host=", "?db=", 1)
