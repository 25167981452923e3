"""A worker that must stop drawing a job does not keep it from everybody else."""

from __future__ import annotations

from typing import Any

from imagen.domain.job import JobState
from imagen.errors import LeaseLost


def lose(_request: Any, _run: Any) -> None:
    raise LeaseLost("the lease may end before a paid call would")


def test_a_job_that_is_still_held_goes_back_and_counts_no_crash(studio: Any) -> None:
    job_id = studio.desk.submit()
    studio.backend.script = [lose]

    studio.draw()

    job = studio.desk.job(job_id)
    assert (job.state, job.crash_count) == (JobState.QUEUED, 0)
    assert studio.draw("two").state is JobState.GENERATED


def test_a_job_that_is_anothers_is_left_to_it(studio: Any) -> None:
    job_id = studio.desk.submit()

    def be_late(_request: Any, run: Any) -> None:
        studio.desk.crash(run.lease.claim)
        studio.desk.must_claim("two")
        raise LeaseLost("another worker has it")

    studio.backend.script = [be_late]

    studio.draw()

    assert studio.desk.row(job_id).lease_owner == "two"


def test_a_worker_that_was_only_silent_denies_its_crash(studio: Any) -> None:
    job_id = studio.desk.submit()

    def be_silent(_request: Any, run: Any) -> None:
        studio.desk.crash(run.lease.claim)
        assert studio.desk.job(job_id).crash_count == 1
        raise LeaseLost("the lease ran out meanwhile")

    studio.backend.script = [be_silent]

    studio.draw()

    job = studio.desk.job(job_id)
    assert (job.state, job.crash_count) == (JobState.QUEUED, 0)
