"""What becomes of a job whose attempt raised, as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from imagen import errors
from imagen.domain.job import AttemptDisposition
from imagen.services.draw.circuit import Refusal
from imagen.services.draw.retry_policy import (
    CREDIT_PAUSE_S,
    RATE_LIMIT_PAUSE_S,
    UNTIL_RESUMED_S,
    Fail,
    Retry,
    RetryPolicy,
    Situation,
    decide,
)

POLICY = RetryPolicy()
#: Of a command that one person waits for.
HASTY = RetryPolicy(waits_for_backends=False)
PAID = Situation(tries=1, limited_s=0.0, repeat_is_free=False)
FREE = Situation(tries=1, limited_s=0.0, repeat_is_free=True)
LAST = Situation(tries=4, limited_s=0.0, repeat_is_free=True)
TIRED = Situation(tries=1, limited_s=900.0, repeat_is_free=False)
TIRED_FREE = Situation(tries=1, limited_s=900.0, repeat_is_free=True)
TIRED_LAST = Situation(tries=4, limited_s=900.0, repeat_is_free=True)
SENT = replace(FREE, was_sent=True)
TIRED_SENT = replace(TIRED_FREE, was_sent=True)
LAST_SENT = replace(LAST, was_sent=True)
RESUMED = replace(TIRED_LAST, is_resumed=True)
SINGLED_OUT = replace(FREE, refusal=Refusal(2, is_singled_out=True))
REFUSED_AGAIN = replace(FREE, refusal=Refusal(3))

DOWN = errors.BackendUnavailable("down")
LIMITED = errors.RateLimited("wait", "", 10.0)
STUCK = errors.BackendStuck("stuck", "", 0.0)
DISK_FULL = errors.BackendStuck("disk full", "", 60.0)
EMPTY = errors.OutOfCredit("empty")
REFUSED = errors.CredentialError("token refused")
LOOK_AGAIN = errors.OutcomeUnknown("?", "", 20.0)
NEVER_KNOWN = errors.OutcomeUnknown("?", "", 0.0)
CREDIT = Retry(CREDIT_PAUSE_S, AttemptDisposition.REWIND, pause_s=CREDIT_PAUSE_S, limited=False)
UNTIL_RESUMED = Retry(0.0, AttemptDisposition.KEEP, pause_s=UNTIL_RESUMED_S, limited=False)
UNTRIED = Retry(1.0, AttemptDisposition.REWIND, limited=False)

TABLE = [
    (DOWN, PAID, UNTRIED),
    (DOWN, LAST, UNTRIED),
    (DOWN, TIRED_LAST, UNTRIED),
    (DOWN, RESUMED, Retry(1.0, AttemptDisposition.KEEP)),
    (DOWN, SENT, Retry(1.0, AttemptDisposition.END)),
    (DOWN, LAST_SENT, Fail()),
    (DOWN, SINGLED_OUT, Retry(1.0, AttemptDisposition.END)),
    (DOWN, replace(LAST, refusal=SINGLED_OUT.refusal), Fail()),
    (DOWN, REFUSED_AGAIN, Retry(4.0, AttemptDisposition.REWIND, limited=False)),
    (LIMITED, PAID, Retry(10.0, AttemptDisposition.REWIND)),
    (LIMITED, LAST, Retry(10.0, AttemptDisposition.REWIND)),
    (LIMITED, TIRED, Retry(10.0, AttemptDisposition.REWIND, pause_s=RATE_LIMIT_PAUSE_S)),
    (
        errors.RateLimited("wait", "", 90.0),
        TIRED,
        Retry(90.0, AttemptDisposition.REWIND, pause_s=90.0),
    ),
    (errors.RateLimited("wait"), PAID, Retry(0.5, AttemptDisposition.REWIND)),
    (STUCK, LAST, Retry(1.0, AttemptDisposition.REWIND)),
    (STUCK, TIRED_LAST, Retry(1.0, AttemptDisposition.REWIND)),
    (STUCK, SENT, Retry(1.0, AttemptDisposition.END)),
    (STUCK, LAST_SENT, Fail()),
    (DISK_FULL, LAST_SENT, Retry(1.0, AttemptDisposition.REWIND)),
    (DISK_FULL, TIRED_SENT, Retry(1.0, AttemptDisposition.END)),
    (EMPTY, PAID, CREDIT),
    (EMPTY, LAST, CREDIT),
    (EMPTY, TIRED, CREDIT),
    (REFUSED, PAID, UNTIL_RESUMED),
    (REFUSED, TIRED_LAST, UNTIL_RESUMED),
    (LOOK_AGAIN, PAID, Retry(20.0, AttemptDisposition.KEEP)),
    (LOOK_AGAIN, TIRED, Fail()),
    (LOOK_AGAIN, FREE, Retry(20.0, AttemptDisposition.KEEP)),
    (LOOK_AGAIN, TIRED_FREE, Retry(1.0, AttemptDisposition.END)),
    (NEVER_KNOWN, PAID, Fail()),
    (NEVER_KNOWN, FREE, Retry(1.0, AttemptDisposition.KEEP)),
    (NEVER_KNOWN, TIRED_FREE, Retry(1.0, AttemptDisposition.END)),
    (NEVER_KNOWN, TIRED_LAST, Fail()),
    (NEVER_KNOWN, RESUMED, Retry(8.0, AttemptDisposition.KEEP)),
]

#: Somebody waits for one image, and is told what is wrong instead of waiting until it is not.
HASTY_TABLE = [
    (DOWN, FREE, Retry(1.0, AttemptDisposition.END)),
    (DOWN, LAST, Fail()),
    (STUCK, FREE, Retry(1.0, AttemptDisposition.END)),
    (STUCK, LAST, Fail()),
    (LIMITED, PAID, Retry(10.0, AttemptDisposition.REWIND)),
    (LIMITED, TIRED, Fail()),
    (REFUSED, PAID, Fail()),
    (EMPTY, PAID, CREDIT),
    (NEVER_KNOWN, RESUMED, Fail()),
]


@pytest.mark.parametrize(("error", "situation", "decision"), TABLE)
def test_the_table_of_the_retry_policy(error: Any, situation: Any, decision: Any) -> None:
    assert decide(error, situation, POLICY, jitter=0.0) == decision


@pytest.mark.parametrize(("error", "situation", "decision"), HASTY_TABLE)
def test_the_table_of_a_command_that_one_person_waits_for(
    error: Any, situation: Any, decision: Any
) -> None:
    assert decide(error, situation, HASTY, jitter=0.0) == decision


@pytest.mark.parametrize("code", sorted(errors.all_error_types()))
def test_an_error_that_may_have_cost_money_is_never_drawn_again_blindly(code: str) -> None:
    error = errors.all_error_types()[code]("x")

    decision = decide(error, PAID, POLICY, jitter=0.0)

    if error.spent and isinstance(decision, Retry):
        assert decision.disposition is AttemptDisposition.KEEP
    if isinstance(decision, Retry):
        assert error.retryable or decision.pause_s


@pytest.mark.parametrize(
    ("tries", "least", "most"),
    [(1, 1, 2), (2, 2, 4), (3, 4, 8), (6, 32, 64), (7, 60, 120), (50, 60, 120), (1000, 60, 120)],
)
def test_the_wait_doubles_up_to_two_minutes_and_half_of_it_is_chance(
    tries: int, least: float, most: float
) -> None:
    situation = Situation(tries, 0.0, False, was_sent=True)
    patient = RetryPolicy(max_attempts=10_000)

    waits = [decide(DOWN, situation, patient, jitter=jitter) for jitter in (0.0, 1.0)]

    assert [wait.wait_s for wait in waits] == [least, most]  # type: ignore[union-attr]


def test_a_limit_is_never_waited_for_less_than_was_asked() -> None:
    for jitter in (0.0, 0.5, 1.0, None):
        decision = decide(LIMITED, PAID, POLICY, jitter=jitter)
        assert isinstance(decision, Retry)
        assert 10.0 <= decision.wait_s <= 11.0


@pytest.mark.parametrize("seconds", [1e12, float("inf"), -5.0])
def test_a_server_that_names_an_absurd_wait_is_asked_again_within_a_day(seconds: float) -> None:
    decision = decide(errors.RateLimited("wait", "", seconds), PAID, POLICY, jitter=1.0)

    assert isinstance(decision, Retry)
    assert 0.5 <= decision.wait_s <= 100_000
