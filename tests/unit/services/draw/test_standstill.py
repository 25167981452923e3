"""A pause is told once to whoever waits for it."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.domain.scope import EVERYTHING
from imagen.errors import OutOfCredit
from imagen.ledger.jobs.pauses import pause_backend, paused_backends, resume_backends
from imagen.services.draw.standstill import StandstillNews, require_usable_account


def _news(desk: Any) -> StandstillNews:
    return StandstillNews(desk.ledger, lambda: paused_backends(desk.ledger))


def test_a_pause_that_a_job_waits_for_is_told_once_with_its_reason(desk: Any) -> None:
    desk.submit()
    pause_backend(desk.ledger, "mock", reason="it is stuck", pause_s=60)
    news = _news(desk)

    assert news.since_last(EVERYTHING) == {"mock": "it is stuck"}
    assert news.since_last(EVERYTHING) == {}


def test_a_pause_of_a_backend_that_nobody_waits_for_is_no_news(desk: Any) -> None:
    desk.submit()
    pause_backend(desk.ledger, "another", reason="it is stuck", pause_s=60)

    assert _news(desk).since_last(EVERYTHING) == {}


def test_a_pause_that_comes_again_is_told_again(desk: Any) -> None:
    desk.submit()
    news = _news(desk)
    for _ in range(2):
        pause_backend(desk.ledger, "mock", reason="it is stuck", pause_s=60)
        assert news.since_last(EVERYTHING)
        resume_backends(desk.ledger, "mock")
        assert news.since_last(EVERYTHING) == {}


def test_jobs_that_all_wait_for_credit_are_no_longer_waited_for(desk: Any) -> None:
    desk.submit()
    pause_backend(desk.ledger, "mock", reason="no credit", pause_s=900, code="out_of_credit")

    with pytest.raises(OutOfCredit, match="no credit"):
        require_usable_account(desk.ledger, EVERYTHING)


def test_another_pause_or_another_backend_is_worth_waiting_for(desk: Any) -> None:
    desk.submit()
    pause_backend(desk.ledger, "mock", reason="it is stuck", pause_s=60, code="backend_stuck")
    require_usable_account(desk.ledger, EVERYTHING)
    pause_backend(desk.ledger, "mock", reason="no credit", pause_s=900, code="out_of_credit")
    desk.submit(backend="another")

    require_usable_account(desk.ledger, EVERYTHING)
