"""The newest jobs, and everything about one of them."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.domain.job import JobState
from imagen.errors import RequestError
from imagen.ledger.jobs.pauses import pause_backend
from imagen.services.report.job_details import job_details
from imagen.services.report.job_list import newest_jobs


def test_a_list_says_whether_there_are_more(sqlite_desk: Any) -> None:
    ids = [sqlite_desk.submit() for _ in range(3)]

    two = newest_jobs(sqlite_desk.ledger, limit=2)
    all_ = newest_jobs(sqlite_desk.ledger, limit=3, states=(JobState.QUEUED,), backend="mock")

    assert ([job.id for job in two.jobs], two.is_cut) == ([ids[2], ids[1]], True)
    assert (len(all_.jobs), all_.is_cut) == (3, False)
    assert newest_jobs(sqlite_desk.ledger, limit=3, batch="nope").jobs == ()


def test_a_waiting_job_says_what_it_waits_for_and_one_that_ended_does_not(
    sqlite_desk: Any,
) -> None:
    job_id = sqlite_desk.submit()
    pause_backend(sqlite_desk.ledger, "mock", reason="too hot", pause_s=None)

    waiting = job_details(sqlite_desk.ledger, str(job_id), sends_usage=False, lease_s=30)
    sqlite_desk.set(job_id, state="failed")
    over = job_details(sqlite_desk.ledger, str(job_id), sends_usage=False, lease_s=30)

    assert waiting.waits_for == ("backend 'mock' is paused: too hot",)
    assert waiting.to_json()["waits_for"] == ["backend 'mock' is paused: too hot"]
    assert over.waits_for == ()


def test_details_hold_the_request_and_every_attempt(sqlite_desk: Any) -> None:
    request = sqlite_desk.request(options={"cfg": "3"})
    job_id = sqlite_desk.generated(request=request)

    facts = job_details(sqlite_desk.ledger, str(job_id), sends_usage=False, lease_s=30).to_json()

    assert (facts["prompt"], facts["options"], facts["caller"]) == (
        "a red fox",
        {"cfg": "3"},
        "tests",
    )
    assert [each["state"] for each in facts["attempts"]] == ["drawn"]
    with pytest.raises(RequestError, match="no job begins"):
        job_details(sqlite_desk.ledger, "ffffffff", sends_usage=False, lease_s=30)
