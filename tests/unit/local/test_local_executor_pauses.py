"""A command whose backend is paused says so instead of waiting in silence."""

from __future__ import annotations

from typing import Any

from imagen.domain.scope import Scope
from imagen.ledger.jobs.pauses import pause_backend


def test_a_pause_that_somebody_else_made_is_told(sqlite_desk: Any, start: Any, ear: Any) -> None:
    job_id = sqlite_desk.submit()
    pause_backend(sqlite_desk.ledger, "mock", reason="it is stuck", pause_s=60)

    is_over = start(sqlite_desk.ledger, ear=ear).run(Scope(job_ids=(job_id,)), timeout_s=0.1)

    assert not is_over
    assert ear.pauses == [("mock", "it is stuck")]
