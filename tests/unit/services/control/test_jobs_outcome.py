"""One error and one exit code for several jobs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from imagen.domain.scope import EVERYTHING
from imagen.errors import BackendRejected, GaveUpWaiting
from imagen.services.control.jobs_outcome import begin_run, named_outcome


@pytest.fixture
def desk(sqlite_desk: Any) -> Any:
    return sqlite_desk


def ended(desk: Any, state: str) -> UUID:
    job_id: UUID = desk.submit()
    desk.set(job_id, state=state, error_code="content_rejected", error_message="no")
    return job_id


def test_a_single_job_ends_with_its_own_error_and_the_better_one_of_two(desk: Any) -> None:
    job_id = ended(desk, "failed")

    told = named_outcome(desk.ledger, [job_id], errors={}, hint="")
    known = named_outcome(desk.ledger, [job_id], errors={job_id: BackendRejected("why")}, hint="")

    assert (told.error.code, told.exit_code) == ("content_rejected", 8)
    assert (known.error.message, known.exit_code) == ("why", 1)


def test_of_several_jobs_those_that_are_not_done_count_more_than_those_that_failed(
    desk: Any,
) -> None:
    ids = [ended(desk, "failed"), desk.submit(), ended(desk, "succeeded")]

    late = named_outcome(desk.ledger, ids, errors={}, hint="go on")
    over = named_outcome(desk.ledger, [ids[0], ids[2]], errors={}, hint="")
    done = named_outcome(desk.ledger, [ids[2]], errors={}, hint="")

    assert isinstance(late.error, GaveUpWaiting)
    assert (late.error.message, late.error.hint) == ("1 of 3 jobs are not done yet", "go on")
    assert (late.exit_code, over.exit_code, done.exit_code) == (6, 4, 0)
    assert [each["id"] for each in late.to_json()["jobs"]] == [str(each) for each in ids]


def test_a_run_counts_what_ended_since_it_began(desk: Any) -> None:
    ended(desk, "failed")
    ids = [desk.submit() for _ in range(3)]
    run = begin_run(desk.ledger, [EVERYTHING])

    desk.set(ids[0], state="succeeded")
    desk.set(ids[1], state="canceled")
    so_far = run.outcome(seconds=1.0)
    desk.set(ids[2], state="succeeded")

    assert run.before.unfinished == 3
    assert (so_far.exit_code, run.outcome(seconds=2.0).exit_code) == (6, 4)
    assert so_far.to_json() == {
        "drawn": 1,
        "failed": 0,
        "canceled": 1,
        "left": 1,
        "seconds": 1.0,
        "warnings": {},
    }
