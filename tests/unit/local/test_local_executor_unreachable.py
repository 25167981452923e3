"""What an embedded run does while its backend is away: wait, say for what, and end in time."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.domain.drawn import Health
from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING
from imagen.errors import BackendUnavailable, CredentialError
from imagen.ledger.jobs.pauses import paused_backends

DEADLINE_S = 60.0


def _take_away(executor: Any, error: Exception) -> Any:
    """Have the executor's backend refuse everything; what it returns brings the backend back."""
    backend = executor.draw_work.isolated.drawing.backends.get("mock")
    real = backend.generate
    state = {"away": True}

    def generate(request: Any, run: Any) -> Any:
        if state["away"]:
            raise error
        return real(request, run)

    backend.generate = generate
    backend.check = lambda: Health("unreachable" if state["away"] else "ok", "connection refused")
    return lambda: state.update(away=False)


def test_a_backend_that_goes_away_is_waited_for_and_no_job_fails(
    sqlite_desk: Any, start: Any, ear: Any
) -> None:
    ids = [sqlite_desk.submit() for _ in range(20)]
    executor = start(sqlite_desk.ledger, ear=ear)
    come_back = _take_away(executor, BackendUnavailable("connection refused"))
    tell = ear.on_unreachable

    def hear(backend: str, reason: str) -> None:
        tell(backend, reason)
        come_back()

    ear.on_unreachable = hear

    assert executor.run(EVERYTHING, timeout_s=DEADLINE_S)

    assert ear.outages == [("mock", "connection refused")]
    assert {sqlite_desk.state(each) for each in ids} == {JobState.SUCCEEDED}
    assert {len(sqlite_desk.attempts(each)) for each in ids} == {1}


def test_a_run_ends_when_its_backend_stays_away_beyond_the_patience_and_keeps_its_jobs(
    sqlite_desk: Any, start: Any
) -> None:
    ids = [sqlite_desk.submit() for _ in range(5)]
    executor = start(sqlite_desk.ledger)
    executor.unavailable_patience_s = 0.2
    _take_away(executor, BackendUnavailable("connection refused"))

    with pytest.raises(BackendUnavailable, match="connection refused"):
        executor.run(EVERYTHING, timeout_s=DEADLINE_S)

    assert {sqlite_desk.state(each) for each in ids} == {JobState.QUEUED}


def test_a_run_waits_on_while_another_backend_draws(sqlite_desk: Any, start: Any) -> None:
    away = sqlite_desk.submit(backend="gone")
    ids = [sqlite_desk.submit() for _ in range(10)]
    executor = start(sqlite_desk.ledger, latency_ms=50)
    executor.unavailable_patience_s = 0.0
    lookup = executor.draw_work.isolated.drawing.backends.backends
    lookup["gone"] = type(lookup["mock"])("gone", type(lookup["mock"]._settings)(), {})
    gone = lookup["gone"]

    def refuse(_request: Any, _run: Any) -> Any:
        raise BackendUnavailable("connection refused")

    gone.generate = refuse
    gone.check = lambda: Health("unreachable", "connection refused")

    with pytest.raises(BackendUnavailable):
        executor.run(EVERYTHING, timeout_s=DEADLINE_S)

    assert {sqlite_desk.state(each) for each in ids} <= {JobState.SUCCEEDED, JobState.GENERATED}
    assert sqlite_desk.state(away) is JobState.QUEUED


def test_a_refused_token_ends_the_run_and_keeps_its_jobs(sqlite_desk: Any, start: Any) -> None:
    ids = [sqlite_desk.submit() for _ in range(5)]
    executor = start(sqlite_desk.ledger)
    _take_away(executor, CredentialError("token refused"))

    with pytest.raises(CredentialError, match="imagen backends resume mock"):
        executor.run(EVERYTHING, timeout_s=DEADLINE_S)

    assert paused_backends(sqlite_desk.ledger) == {"mock": "token refused"}
    assert {sqlite_desk.state(each) for each in ids} == {JobState.QUEUED}
