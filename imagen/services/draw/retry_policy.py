"""The retry policy: whether a job is tried again after an error, when, and what it waits for."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from imagen.domain.job import AttemptDisposition
from imagen.errors import (
    BackendError,
    BackendStuck,
    BackendUnavailable,
    CredentialError,
    ImagenError,
    OutcomeUnknown,
    OutOfCredit,
    RateLimited,
)
from imagen.services.draw.circuit import FIRST_REFUSAL, Refusal

#: How long nothing is claimed for a backend whose account is empty.
CREDIT_PAUSE_S = 900.0
#: The least pause of a backend that still limits the rate when the patience is over.
RATE_LIMIT_PAUSE_S = 30.0
#: A pause that only `imagen backends resume` ends.
UNTIL_RESUMED_S = math.inf
#: A server's own number is believed up to here; no database holds a time in the year 30,000.
_LONGEST_WAIT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and for how long a job is tried again; seconds everywhere.

    ``waits_for_backends`` is false for an interactive command: there a backend that cannot be used
    fails the job, elsewhere the job waits.
    """

    max_attempts: int = 4
    backoff_base_s: float = 2.0
    backoff_max_s: float = 120.0
    rate_limit_patience_s: float = 900.0
    waits_for_backends: bool = True


@dataclass(frozen=True, slots=True)
class Situation:
    """What the policy may look at.

    ``tries`` counts the attempts made since the job was submitted (or retried by hand), this one
    included; ``limited_s`` is for how long it has been put off without a try.

    Attributes:
        was_sent: the backend had accepted work from this call before it raised.
        is_resumed: this call took up work that an earlier one had left at the backend.
        refusal: what is known of it where the backend refused to begin, see ``is_refusal``.
    """

    tries: int
    limited_s: float
    repeat_is_free: bool
    was_sent: bool = False
    is_resumed: bool = False
    refusal: Refusal = FIRST_REFUSAL


@dataclass(frozen=True, slots=True)
class Retry:
    wait_s: float
    disposition: AttemptDisposition
    #: No process claims jobs of the account's backends for so long.
    pause_s: float = 0.0
    #: Whether the wait counts against ``rate_limit_patience_s``.
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
            # Nothing was started, and nothing will be until the account is paid: the job waits.
            return Retry(
                CREDIT_PAUSE_S, AttemptDisposition.REWIND, pause_s=CREDIT_PAUSE_S, limited=False
            )
        case CredentialError() if policy.waits_for_backends:
            # The announced call may have begun before the token was refused: it is kept.
            return Retry(0.0, AttemptDisposition.KEEP, pause_s=UNTIL_RESUMED_S, limited=False)
        case RateLimited() if is_patient or policy.waits_for_backends:
            asked_s = min(max(error.retry_after_s, 0.5), _LONGEST_WAIT_S)
            pause_s = 0.0 if is_patient else max(asked_s, RATE_LIMIT_PAUSE_S)
            return Retry(asked_s * (1 + 0.1 * draw), AttemptDisposition.REWIND, pause_s=pause_s)
        case RateLimited():
            return Fail()
        case BackendUnavailable() if policy.waits_for_backends:
            return _wait_for_backend(error, situation, policy, draw)
        case BackendUnavailable():
            return _again(situation, policy, backoff_s)
        case OutcomeUnknown() if error.look_again_s > 0 and is_patient:
            return Retry(error.look_again_s, AttemptDisposition.KEEP)
        case OutcomeUnknown() if situation.repeat_is_free:
            # It may still be under way there: kept, the next claim takes it over by its id.
            is_asked_for = situation.is_resumed and not situation.was_sent
            if is_patient or (is_asked_for and policy.waits_for_backends):
                return Retry(backoff_s, AttemptDisposition.KEEP)
            return _again(situation, policy, backoff_s)
        case _:
            return Fail()


def is_refusal(error: ImagenError, situation: Situation) -> bool:
    """Whether an error says that the backend cannot be used now, whatever the request."""
    match error:
        case RateLimited():
            return False
        case BackendStuck():
            return True
        case BackendUnavailable():
            return not situation.was_sent
        case OutcomeUnknown():
            # The server lost the drawing; the adapter of a paid one searches for it.
            return situation.repeat_is_free
        case _:
            return False


def is_answer(error: ImagenError) -> bool:
    """Whether an error says that the backend is reachable: it has read the request."""
    if isinstance(error, RateLimited):
        return True
    return isinstance(error, BackendError) and not isinstance(
        error, (BackendUnavailable, OutcomeUnknown)
    )


def _wait_for_backend(
    error: BackendUnavailable, situation: Situation, policy: RetryPolicy, draw: float
) -> Retry | Fail:
    """No try is counted until the circuit of this process closes, unless the job is to blame."""
    if isinstance(error, BackendStuck):
        is_patient = situation.limited_s < policy.rate_limit_patience_s
        is_tried = situation.was_sent and (error.pause_s == 0 or not is_patient)
    else:
        is_tried = situation.was_sent or situation.refusal.is_singled_out
    if is_tried:
        return _again(situation, policy, _backoff_s(situation.tries, policy, draw))
    disposition = AttemptDisposition.KEEP if situation.is_resumed else AttemptDisposition.REWIND
    is_limited = situation.is_resumed or isinstance(error, BackendStuck)
    # Longer each time: a job that is refused for its own sake must not always be the first.
    return Retry(
        _backoff_s(situation.refusal.number, policy, draw), disposition, limited=is_limited
    )


def _again(situation: Situation, policy: RetryPolicy, backoff_s: float) -> Retry | Fail:
    return (
        Retry(backoff_s, AttemptDisposition.END)
        if situation.tries < policy.max_attempts
        else Fail()
    )


def _backoff_s(tries: int, policy: RetryPolicy, jitter: float) -> float:
    """2, 4, 8 … seconds; the upper half of each is random, so that none is 0."""
    full = min(policy.backoff_max_s, policy.backoff_base_s * 2.0 ** (tries - 1))
    return full * (0.5 + 0.5 * jitter)
