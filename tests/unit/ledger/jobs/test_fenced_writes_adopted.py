"""Whose a prediction from the provider's list becomes, and that the dead take none."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.domain.job import AttemptState
from imagen.domain.protocols import AlreadyOwned
from imagen.errors import LeaseLost
from imagen.ledger.jobs import fenced_writes


def test_what_was_found_in_the_list_belongs_to_the_attempt(desk: Any) -> None:
    job_id = desk.submit()

    fenced_writes.record_adopted(desk.ledger, desk.must_claim(), "paid-1", place="shop")

    [attempt] = desk.attempts(job_id)
    assert (attempt.state, attempt.external_id) == (AttemptState.SUBMITTED, "paid-1")


def test_a_worker_without_the_lease_takes_nothing_from_the_list(desk: Any) -> None:
    desk.submit()
    claim = desk.must_claim()
    fenced_writes.record_intent(desk.ledger, claim)
    desk.crash(claim)
    desk.must_claim("two")
    before = desk.snapshot()

    with pytest.raises(LeaseLost):
        fenced_writes.record_adopted(desk.ledger, claim, "paid-1", place="shop")

    assert desk.snapshot() == before


def test_what_another_attempt_has_cannot_be_taken_from_the_list(desk: Any) -> None:
    desk.submit()
    desk.submit()
    fenced_writes.record_submitted(desk.ledger, desk.must_claim(), "paid-1", place="shop")
    second = desk.must_claim()

    with pytest.raises(AlreadyOwned):
        fenced_writes.record_adopted(desk.ledger, second, "paid-1", place="shop")

    fenced_writes.record_adopted(desk.ledger, second, "paid-2", place="shop")


def test_a_late_answer_wins_over_what_the_new_holder_finds_in_the_list(desk: Any) -> None:
    job_id = desk.submit()
    stopped = desk.must_claim()
    desk.crash(stopped)
    holder = desk.must_claim("two")
    with pytest.raises(LeaseLost):
        fenced_writes.record_submitted(desk.ledger, stopped, "paid-1", place="shop")

    with pytest.raises(LeaseLost):
        fenced_writes.record_adopted(desk.ledger, holder, "paid-2", place="shop")

    assert desk.attempts(job_id)[0].external_id == "paid-1"
