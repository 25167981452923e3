"""The chaos stage with a provider that takes money: a fake Replicate that loses answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from imagen.services.submit.prompt_file import PromptLine
from imagen.services.submit.resolve import RequestInput
from imagen.services.submit.submit_batch import BatchIdentity, BatchRun
from tests.chaos.environment import HOST, Environment
from tests.fakes.replicate import FakeReplicate, Fault

TOKEN_ENV = "REPLICATE_API_TOKEN"
BACKEND = "paid"
#: What schnell costs: one image.
PRICE_USD = 0.003

#: The provider's own times. What a lost call created shows within ``SETTLE_S``, as the real one's
#: does within its ten seconds; everything is shorter here by the same measure.
LATE_S = 0.5
LIST_LAG_S = 0.3
POST_TIMEOUT_S = 3.0
SETTLE_S = 2.0
LEASE_S = 4.0
#: How long an answer may hang: some come within the call's time, some after it.
HANGS_S = (0.4, 1.5, POST_TIMEOUT_S + 1)

#: Chances of each fault, by the call. About every third create call gets no usable answer.
CHANCES: Mapping[Fault, float] = {
    Fault.LOST_BEFORE_CREATION: 0.04,
    Fault.LOST_AFTER_CREATION: 0.08,
    Fault.CREATED_AFTER_CUT: 0.05,
    Fault.HANG_AFTER_CREATION: 0.12,
    Fault.TORN_ANSWER: 0.03,
    Fault.ERROR_BEFORE_CREATION: 0.03,
    Fault.ERROR_AFTER_CREATION: 0.06,
    Fault.THROTTLED: 0.02,
    Fault.THROTTLED_SILENTLY: 0.005,
    Fault.POLL_ERROR: 0.02,
    Fault.POLL_LOST: 0.02,
    Fault.POLL_THROTTLED: 0.01,
    Fault.LIST_ERROR: 0.03,
    Fault.LIST_LOST: 0.03,
    Fault.DOWNLOAD_ERROR: 0.03,
    Fault.DOWNLOAD_TRUNCATED: 0.03,
}


def open_provider(seed: int, *, chances: Mapping[Fault, float] = CHANCES) -> FakeReplicate:
    """The fake, not started yet."""
    fake = FakeReplicate(
        chances=chances, seed=seed, draw_s=0.2, jitter=0.3, late_s=LATE_S, list_lag_s=LIST_LAG_S
    )
    fake.stage.hang_s = HANGS_S[0]
    return fake


def backends(fake: FakeReplicate) -> dict[str, dict[str, Any]]:
    """What stands in the configuration."""
    return {
        BACKEND: {
            **{"type": "replicate", "model": "black-forest-labs/flux-schnell"},
            **{"base_url": fake.url, "download_hosts": list(fake.download_hosts)},
            **{"post_timeout_s": POST_TIMEOUT_S, "settle_s": SETTLE_S, "patience_s": 20.0},
        }
    }


def workers(*, threads: int) -> dict[str, Any]:
    return {
        **{"lease_s": LEASE_S, "heartbeat_s": 0.7, "grace_s": 2, "reconcile_s": 0.3},
        **{"backoff_base_s": 0.2, "backoff_max_s": 2, "max_crashes": 100},
        "concurrency": {"cloud": threads},
    }


@dataclass
class PaidEnvironment(Environment):
    """Processes with a token, which is all that their environment holds besides the usual."""

    token: str = ""

    def variables(self, host: str = HOST) -> dict[str, str]:
        return super().variables(host) | {TOKEN_ENV: self.token}

    def order(self, prompts: Sequence[str], *, seed: int = 0) -> int:
        """Accept a batch of these, with the same seed where one is given; says how many."""
        imagen = self.imagen()
        ask = RequestInput(prompt="", backend=BACKEND, size="512x512", seed=seed)
        now = datetime.now().astimezone()
        run = BatchRun(imagen.ledger, imagen.submit_context(), imagen.registry, ask, now)
        lines = [PromptLine(number, number, prompt) for number, prompt in enumerate(prompts, 1)]
        return run.submit(lines, BatchIdentity(f"name:money {seed} {prompts[0]}", "money")).added


def make_environment(
    folder: Path, fake: FakeReplicate, *, redis_url: str, database_url: str, threads: int
) -> PaidEnvironment:
    return PaidEnvironment(
        folder,
        redis_url,
        database_url,
        workers=workers(threads=threads),
        backends=backends(fake),
        token=fake.stage.tokens[0],
    )
