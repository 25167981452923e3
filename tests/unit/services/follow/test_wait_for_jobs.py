"""Waiting for jobs that other processes draw."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from imagen.domain.scope import Scope
from imagen.services.follow import wait_for_jobs as module
from imagen.services.follow.wait_for_jobs import wait_for_jobs


def wait(desk: Any, *job_ids: Any, **how: Any) -> bool:
    usual: dict[str, Any] = {"stop": threading.Event(), "lease_s": 30}
    return wait_for_jobs(desk.ledger, Scope(job_ids=job_ids), **usual | how)


def test_jobs_that_have_ended_are_not_waited_for(sqlite_studio: Any) -> None:
    job_id = sqlite_studio.desk.submit()
    sqlite_studio.draw()
    sqlite_studio.deliver()

    assert wait(sqlite_studio.desk, job_id)


def test_a_wait_ends_at_its_time_and_when_it_is_stopped(sqlite_desk: Any) -> None:
    job_id = sqlite_desk.submit()
    stop = threading.Event()
    stop.set()

    assert not wait(sqlite_desk, job_id, timeout_s=0.01)
    assert not wait(sqlite_desk, job_id, stop=stop)


@pytest.mark.parametrize("is_held", [True, False])
def test_it_is_told_once_that_no_process_is_there_to_draw(
    sqlite_desk: Any, monkeypatch: pytest.MonkeyPatch, is_held: bool
) -> None:
    monkeypatch.setattr(module, "_UNATTENDED_AFTER_S", -1.0)
    monkeypatch.setattr(module, "_FIRST_LOOK_S", 0.001)
    job_id = sqlite_desk.submit()
    if is_held:
        sqlite_desk.must_claim()
    told: list[str] = []

    wait(sqlite_desk, job_id, timeout_s=0.05, on_unattended=lambda: told.append("unattended"))

    assert told == ([] if is_held else ["unattended"])
