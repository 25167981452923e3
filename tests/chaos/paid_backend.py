"""A backend that costs money: a fake Replicate that loses answers, and the settings for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.fakes.replicate import FakeReplicate, ReplicateFault

TOKEN_ENV = "REPLICATE_API_TOKEN"
BACKEND = "paid"

#: The provider's times, all shorter than the real ones by the same factor. What a lost call has
#: created is listed within ``SETTLE_S``.
LATE_S = 0.5
LIST_LAG_S = 0.3
POST_TIMEOUT_S = 3.0
SETTLE_S = 2.0
LEASE_S = 4.0
#: How long an answer may hang: some come within the timeout of the call, some after it.
HANGS_S = (0.4, 1.5, POST_TIMEOUT_S + 1)

#: The chance of each fault at a call. About every third create call gets no usable answer.
CHANCES: Mapping[ReplicateFault, float] = {
    ReplicateFault.LOST_BEFORE_CREATION: 0.04,
    ReplicateFault.LOST_AFTER_CREATION: 0.08,
    ReplicateFault.CREATED_AFTER_CUT: 0.05,
    ReplicateFault.HANG_AFTER_CREATION: 0.12,
    ReplicateFault.TORN_ANSWER: 0.03,
    ReplicateFault.ERROR_BEFORE_CREATION: 0.03,
    ReplicateFault.ERROR_AFTER_CREATION: 0.06,
    ReplicateFault.THROTTLED: 0.02,
    ReplicateFault.THROTTLED_SILENTLY: 0.005,
    ReplicateFault.POLL_ERROR: 0.02,
    ReplicateFault.POLL_LOST: 0.02,
    ReplicateFault.POLL_THROTTLED: 0.01,
    ReplicateFault.LIST_ERROR: 0.03,
    ReplicateFault.LIST_LOST: 0.03,
    ReplicateFault.DOWNLOAD_ERROR: 0.03,
    ReplicateFault.DOWNLOAD_TRUNCATED: 0.03,
}


def open_provider(seed: int, *, chances: Mapping[ReplicateFault, float] = CHANCES) -> FakeReplicate:
    """The fake, not started yet."""
    fake = FakeReplicate(
        chances=chances, seed=seed, draw_s=0.2, jitter=0.3, late_s=LATE_S, list_lag_s=LIST_LAG_S
    )
    fake.stage.hang_s = HANGS_S[0]
    return fake


def paid_backends(fake: FakeReplicate) -> dict[str, dict[str, Any]]:
    """The block ``backends`` of the configuration."""
    return {
        BACKEND: {
            "type": "replicate",
            "model": "black-forest-labs/flux-schnell",
            "base_url": fake.url,
            "download_hosts": list(fake.download_hosts),
            "post_timeout_s": POST_TIMEOUT_S,
            "settle_s": SETTLE_S,
            "patience_s": 20.0,
        }
    }


def paid_workers(*, threads: int) -> dict[str, Any]:
    """The block ``workers``."""
    return {
        "lease_s": LEASE_S,
        "heartbeat_s": 0.7,
        "grace_s": 2,
        "reconcile_s": 0.3,
        "backoff_base_s": 0.2,
        "backoff_max_s": 2,
        "max_crashes": 100,
        "concurrency": {"cloud": threads},
    }
