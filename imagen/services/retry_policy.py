"""What becomes of a job whose attempt raised: one pure function for every executor."""

from __future__ import annotations

import random
from dataclasses import dataclass

from imagen.errors import (
    BackendStuck,
    BackendUnavailable,
    ImagenError,
    OutcomeUnknown,
    OutOfCredit,
    RateLimited,
)
from imagen.ledger.held import Rest

#: How long a backend whose account is empty is left alone.
CREDIT_PAUSE_S = 900.0
#: A server's own number is believed up to here; no database holds a time in the year 30,000.
_LONGEST_WAIT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently; seconds everywhere."""

    max_attempts: int = 4
    backoff_base_s: float = 2.0
    backoff_max_s: float = 120.0
    rate_limit_patience_s: float = 900.0


@dataclass(frozen=True, slots=True)
class Situation:
    """What the policy may look at.

    ``tries`` counts the attempts made since the job was submitted (or retried by hand), this one
    included; ``limited_s`` is for how long it has been put off without a try.
    """

    tries: int
    limited_s: float
    repeat_is_free: bool


@dataclass(frozen=True, slots=True)
class Retry:
    wait_s: float
    rest: Rest
    #: Leave the backend alone for so long.
    pause_s: float = 0.0
    #: Whether the wait counts against the patience with a backend that keeps putting us off.
    limited: bool = True


@dataclass(frozen=True, slots=True)
class Fail:
    """The job ends here; only ``imagen jobs retry`` draws again."""


def decide(
    error: ImagenError, situation: Situation, policy: RetryPolicy, *, jitter: float | None = None
) -> Retry | Fail:
    """Whether, when and how to try again. ``jitter`` in 0..1 is drawn when it is not given."""
    draw = random.random() if jitter is None else jitter  # noqa: S311  (no secret hangs on it)
    backoff_s = _backoff_s(situation.tries, policy, draw)
    is_patient = situation.limited_s < policy.rate_limit_patience_s
    match error:
        case OutOfCredit():
            # Nothing was started, and nothing will be until somebody pays: the job waits.
            return Retry(CREDIT_PAUSE_S, Rest.REWIND, pause_s=CREDIT_PAUSE_S, limited=False)
        case RateLimited() if is_patient:
            asked_s = min(max(error.retry_after_s, 0.5), _LONGEST_WAIT_S)
            return Retry(asked_s * (1 + 0.1 * draw), Rest.REWIND)
        case BackendStuck() if is_patient:
            return Retry(error.pause_s, Rest.REWIND, pause_s=error.pause_s)
        case OutcomeUnknown() if error.look_again_s > 0 and is_patient:
            return Retry(error.look_again_s, Rest.KEEP)
        case OutcomeUnknown() if situation.repeat_is_free:
            # It may still be under way there: kept, the next claim takes it over by its id.
            if is_patient:
                return Retry(backoff_s, Rest.KEEP)
            return _again(situation, policy, backoff_s)
        case RateLimited() | BackendStuck():
            return Fail()
        case BackendUnavailable():
            return _again(situation, policy, backoff_s)
        case _:
            return Fail()


def _again(situation: Situation, policy: RetryPolicy, backoff_s: float) -> Retry | Fail:
    return Retry(backoff_s, Rest.END) if situation.tries < policy.max_attempts else Fail()


def _backoff_s(tries: int, policy: RetryPolicy, jitter: float) -> float:
    """2, 4, 8 … seconds; the upper half of each is random, so that none is 0."""
    full = min(policy.backoff_max_s, policy.backoff_base_s * 2.0 ** (tries - 1))
    return full * (0.5 + 0.5 * jitter)
