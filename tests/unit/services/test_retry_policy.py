"""What becomes of a job whose attempt raised, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from imagen import errors
from imagen.ledger.held import Rest
from imagen.services.retry_policy import (
    CREDIT_PAUSE_S,
    Fail,
    Retry,
    RetryPolicy,
    Situation,
    decide,
)

POLICY = RetryPolicy()
PAID = Situation(tries=1, limited_s=0.0, repeat_is_free=False)
FREE = Situation(tries=1, limited_s=0.0, repeat_is_free=True)
LAST = Situation(tries=4, limited_s=0.0, repeat_is_free=True)
TIRED = Situation(tries=1, limited_s=900.0, repeat_is_free=False)
TIRED_FREE = Situation(tries=1, limited_s=900.0, repeat_is_free=True)
TIRED_LAST = Situation(tries=4, limited_s=900.0, repeat_is_free=True)

DOWN = errors.BackendUnavailable("down")
LIMITED = errors.RateLimited("wait", "", 10.0)
STUCK = errors.BackendStuck("stuck", "", 30.0)
EMPTY = errors.OutOfCredit("empty")
LOOK_AGAIN = errors.OutcomeUnknown("?", "", 20.0)
NEVER_KNOWN = errors.OutcomeUnknown("?", "", 0.0)
CREDIT = Retry(CREDIT_PAUSE_S, Rest.REWIND, pause_s=CREDIT_PAUSE_S, limited=False)

TABLE = [
    (DOWN, PAID, Retry(1.0, Rest.END)),
    (DOWN, LAST, Fail()),
    (DOWN, TIRED, Retry(1.0, Rest.END)),
    (LIMITED, PAID, Retry(10.0, Rest.REWIND)),
    (LIMITED, LAST, Retry(10.0, Rest.REWIND)),
    (LIMITED, TIRED, Fail()),
    (errors.RateLimited("wait"), PAID, Retry(0.5, Rest.REWIND)),
    (STUCK, PAID, Retry(30.0, Rest.REWIND, pause_s=30.0)),
    (STUCK, LAST, Retry(30.0, Rest.REWIND, pause_s=30.0)),
    (STUCK, TIRED, Fail()),
    (EMPTY, PAID, CREDIT),
    (EMPTY, LAST, CREDIT),
    (EMPTY, TIRED, CREDIT),
    (LOOK_AGAIN, PAID, Retry(20.0, Rest.KEEP)),
    (LOOK_AGAIN, TIRED, Fail()),
    (LOOK_AGAIN, FREE, Retry(20.0, Rest.KEEP)),
    (LOOK_AGAIN, TIRED_FREE, Retry(1.0, Rest.END)),
    (NEVER_KNOWN, PAID, Fail()),
    (NEVER_KNOWN, FREE, Retry(1.0, Rest.KEEP)),
    (NEVER_KNOWN, TIRED_FREE, Retry(1.0, Rest.END)),
    (NEVER_KNOWN, TIRED_LAST, Fail()),
]


@pytest.mark.parametrize(("error", "situation", "decision"), TABLE)
def test_the_table_of_the_retry_policy(error: Any, situation: Any, decision: Any) -> None:
    assert decide(error, situation, POLICY, jitter=0.0) == decision


@pytest.mark.parametrize("code", sorted(errors.all_error_types()))
def test_an_error_that_may_have_cost_money_is_never_drawn_again_blindly(code: str) -> None:
    error = errors.all_error_types()[code]("x")

    decision = decide(error, PAID, POLICY, jitter=0.0)

    if error.spent and isinstance(decision, Retry):
        assert decision.rest is Rest.KEEP
    if isinstance(decision, Retry):
        assert error.retryable or isinstance(error, errors.OutOfCredit)


@pytest.mark.parametrize(
    ("tries", "least", "most"),
    [(1, 1, 2), (2, 2, 4), (3, 4, 8), (6, 32, 64), (7, 60, 120), (50, 60, 120), (1000, 60, 120)],
)
def test_the_wait_doubles_up_to_two_minutes_and_half_of_it_is_chance(
    tries: int, least: float, most: float
) -> None:
    situation = Situation(tries, 0.0, False)
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
