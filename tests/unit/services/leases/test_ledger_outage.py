"""Writes that are not given up because the database was away for a moment."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.errors import LeaseLost, LedgerClosed, LedgerOutdated, LedgerUnavailable
from imagen.services.leases.ledger_outage import retry_while_unavailable


def test_it_is_tried_until_the_ledger_is_back(clock: Any) -> None:
    answers = [LedgerUnavailable("away"), LedgerUnavailable("away"), None]

    def work() -> str:
        error = answers.pop(0)
        if error is not None:
            raise error
        return "written"

    assert retry_while_unavailable(work, clock=clock) == "written"

    assert clock.slept == [0.1, 0.2]


def test_patience_ends_with_the_error_itself(clock: Any) -> None:
    error = LedgerUnavailable("away")

    def work() -> None:
        raise error

    with pytest.raises(LedgerUnavailable) as caught:
        retry_while_unavailable(work, clock=clock, patience_s=60.0)

    assert caught.value is error
    assert 50 < sum(clock.slept) <= 60
    assert max(clock.slept) == 5.0


@pytest.mark.parametrize(
    "error", [LeaseLost("x"), LedgerClosed("x"), LedgerOutdated("x"), ValueError("x")]
)
def test_what_is_no_absence_is_not_tried_again(clock: Any, error: Exception) -> None:
    def work() -> None:
        raise error

    with pytest.raises(type(error)):
        retry_while_unavailable(work, clock=clock)

    assert clock.slept == []
