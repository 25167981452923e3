"""Every address of a Redis that redis-py allows works here, or is refused in one line."""

from __future__ import annotations

import pytest

from imagen.config.load import load_config
from imagen.errors import ConfigError

SECRET = "s3cret-word"  # no password of anything


def broker(url: str) -> str:
    return load_config(None, {"IMAGEN_BROKER_URL": url}).queue.broker_url


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("redis://127.0.0.1", "redis://127.0.0.1/0"),
        ("redis://127.0.0.1:6380/2", "redis://127.0.0.1:6380/2"),
        ("redis:///1", "redis:///1"),
        ("redis://host/0?db=3", "redis://host/0"),
        ("redis://host?db=3", "redis://host/3"),
        ("redis://:pw@host/0", "redis://:pw@host/0"),
        ("redis://host/0?password=p%40w", "redis://:p%40w@host/0"),
        ("redis://host/0?username=me&password=pw", "redis://me:pw@host/0"),
        ("redis://me:p%2Fw@[::1]:1/0", "redis://me:p%2Fw@[::1]:1/0"),
        ("rediss://:pw@host/0?ssl_cert_reqs=CERT_NONE", "rediss://:pw@host/0?ssl_cert_reqs=none"),
        (
            "rediss://host/0?ssl_ca_certs=/etc/ca.pem&password=pw",
            "rediss://:pw@host/0?ssl_ca_certs=/etc/ca.pem",
        ),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        (
            "unix://:pw@/run/redis.sock?db=2",
            "redis+socket://:pw@/run/redis.sock?virtual_host=2",
        ),
        (
            "unix:///run/redis.sock?db=2&password=pw",
            "redis+socket://:pw@/run/redis.sock?virtual_host=2",
        ),
        (
            "redis+socket:///run/redis.sock?virtual_host=4",
            "redis+socket:///run/redis.sock?virtual_host=4",
        ),
    ],
)
def test_an_address_is_brought_into_one_form(given: str, used: str) -> None:
    assert broker(given) == used
    assert broker(used) == used


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"redis://{SECRET}@host/0", "names a user without a password"),
        (f"redis://:{SECRET}#x@host/0", "cannot be read"),
        (f"redis://:x/{SECRET}@host:6379/0", "cannot be read"),
        (f"redis://host:{SECRET}/0", "cannot be read"),
        (f"redis://host/{SECRET}", "is a number"),
        (f"redis://host/0?password={SECRET}&decode_responses=1", "'decode_responses'"),
        (f"redis://:{SECRET}@host/0?socket_timeout=1", "'socket_timeout'"),
        (f"redis://:{SECRET}@host/0?ssl_cert_reqs=none", "is for rediss://"),
        (f"rediss://:{SECRET}@host/0?ssl_cert_reqs=perhaps", "one of required, optional, none"),
        (f"unix://:{SECRET}@host", "unix:///run/redis.sock"),
        (f"sentinel://:{SECRET}@host", "begins with redis://"),
        (f"amqp://:{SECRET}@host", "begins with redis://"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line_without_its_password(
    url: str, why: str
) -> None:
    with pytest.raises(ConfigError, match="IMAGEN_BROKER_URL") as refused:
        broker(url)

    assert why in refused.value.message
    assert "\n" not in refused.value.message
    assert SECRET not in str(refused.value)
