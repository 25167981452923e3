"""A job that kills its workers is told from one whose workers died of something else."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING
from imagen.ledger.jobs import fenced_writes
from imagen.ledger.jobs.cancel_and_retry import retry_jobs
from imagen.ledger.jobs.claim import claim_job
from imagen.ledger.jobs.crashes import MANY_DEATHS, deny_crash
from imagen.ledger.jobs.leases import take_back
from imagen.ledger.queries.waiting_jobs import crashed_waiting
from imagen.ledger.store.tables import locks
from imagen.ledger.store.types import now_plus


def _crash(desk: Any, job_id: UUID, *, external_id: str = "") -> None:
    """The job is drawn by a worker of its own, which dies."""
    claim = claim_job(desk.ledger, desk.claimant(f"worker of {job_id}"))
    assert claim is not None
    assert claim.job.id == job_id
    if external_id and claim.attempt.external_id is None:
        fenced_writes.record_submitted(desk.ledger, claim, external_id, place="there")
    assert take_back(desk.ledger, max_crashes=5, dead=[claim.owner]) == 1


def _another_worker_dies(desk: Any) -> None:
    """With a job that comes before all others and that ends right after."""
    other = desk.submit(id=UUID(int=desk.draft().id.int % 1000), queue="cloud")
    claim = desk.must_claim(f"worker of {other}", queues=["cloud"])
    assert take_back(desk.ledger, max_crashes=5, dead=[claim.owner]) == 1
    desk.set(other, state="canceled")


def _forget_deaths(desk: Any) -> None:
    """As if a minute had gone by."""
    with desk.ledger.write() as connection:
        connection.execute(update(locks).values(expires_at=now_plus(-61)))


def _is_alone(desk: Any, job_id: UUID) -> bool:
    found = desk.row(job_id).alone_since is not None
    assert crashed_waiting(desk.ledger, ["gpu"]) is found
    return found


def test_one_crash_lets_a_job_run_with_others(desk: Any) -> None:
    job_id = desk.submit()

    _crash(desk, job_id)

    assert not _is_alone(desk, job_id)
    assert claim_job(desk.ledger, desk.claimant(), crashed=False) is not None


def test_after_its_second_crash_a_job_runs_alone(desk: Any) -> None:
    job_id = desk.submit()

    _crash(desk, job_id)
    _crash(desk, job_id)

    assert _is_alone(desk, job_id)
    assert claim_job(desk.ledger, desk.claimant(), crashed=False) is None
    assert claim_job(desk.ledger, desk.claimant(), crashed=True) is not None


def test_a_job_that_a_backend_has_taken_on_runs_with_others_until_its_last_try(desk: Any) -> None:
    job_id = desk.submit()

    alone = []
    for _ in range(4):
        _crash(desk, job_id, external_id="p-1")
        alone.append(_is_alone(desk, job_id))

    assert alone == [False, False, False, True]
    _crash(desk, job_id)
    assert desk.job(job_id).error_code == "worker_crashed"


def test_a_crash_amid_deaths_of_other_workers_raises_no_suspicion(desk: Any) -> None:
    job_id = desk.submit()
    _crash(desk, job_id)

    _another_worker_dies(desk)
    _crash(desk, job_id)

    assert not _is_alone(desk, job_id)


def test_a_job_alone_does_not_fail_while_other_workers_die_too(desk: Any) -> None:
    job_id = desk.submit()
    for _ in range(7):
        _crash(desk, job_id)
        _another_worker_dies(desk)
    assert desk.state(job_id) is JobState.QUEUED

    _forget_deaths(desk)
    _crash(desk, job_id)

    assert desk.state(job_id) is JobState.FAILED


def test_an_excuse_holds_for_the_next_crash_too(desk: Any) -> None:
    job_id = desk.submit()
    for _ in range(3):
        _crash(desk, job_id)
        _another_worker_dies(desk)

    _crash(desk, job_id)
    _crash(desk, job_id)

    assert desk.state(job_id) is JobState.QUEUED


def test_a_job_whose_workers_are_killed_one_after_the_other_does_not_fail_amid_many_deaths(
    desk: Any,
) -> None:
    for _ in range(MANY_DEATHS):
        _another_worker_dies(desk)
    job_id = desk.submit()

    for _ in range(6):
        _crash(desk, job_id)

    assert desk.state(job_id) is JobState.QUEUED
    _forget_deaths(desk)
    _crash(desk, job_id)
    assert desk.state(job_id) is JobState.FAILED


def test_no_excuse_holds_for_ever(desk: Any) -> None:
    job_id = desk.submit()

    for _ in range(10):
        assert desk.state(job_id) is JobState.QUEUED
        _crash(desk, job_id)
        _another_worker_dies(desk)

    assert desk.job(job_id).error_code == "worker_crashed"


def test_two_jobs_that_kill_their_workers_do_not_excuse_each_other(desk: Any) -> None:
    first, second = desk.submit(), desk.submit(queue="cloud")
    claims = {first: ["gpu"], second: ["cloud"]}

    for _ in range(10):
        for job_id, queues in claims.items():
            claim = claim_job(desk.ledger, desk.claimant(f"of {job_id}", queues=queues))
            if claim is not None:
                take_back(desk.ledger, max_crashes=5, dead=[claim.owner])

    assert desk.job(first).error_code == desk.job(second).error_code == "worker_crashed"


def test_a_job_of_a_stopped_worker_is_taken_back_without_a_crash(desk: Any) -> None:
    job_id = desk.submit()
    desk.must_claim("stopped")
    desk.expire(job_id)

    assert take_back(desk.ledger, max_crashes=5, alive=["stopped"]) == 1

    row = desk.row(job_id)
    assert (row.state, row.crash_count, row.fence) == ("queued", 0, 2)


@pytest.mark.parametrize("claimed_again", [False, True], ids=["waiting", "claimed"])
def test_a_holder_that_lives_denies_the_crash_that_was_counted_for_it(
    desk: Any, claimed_again: bool
) -> None:
    job_id = desk.submit()
    _crash(desk, job_id)
    claim = desk.must_claim("silent")
    desk.crash(claim)
    if claimed_again:
        desk.must_claim("two")

    deny_crash(desk.ledger, claim)
    deny_crash(desk.ledger, claim)

    row = desk.row(job_id)
    assert (row.crash_count, row.alone_since) == (1, None)


def test_nothing_is_denied_where_no_crash_was_counted(desk: Any) -> None:
    job_id = desk.submit()
    _crash(desk, job_id)
    claim = desk.must_claim("stopped")
    desk.expire(job_id)
    take_back(desk.ledger, max_crashes=5, alive=["stopped"])

    deny_crash(desk.ledger, claim)

    assert desk.row(job_id).crash_count == 1


def test_a_job_that_is_retried_by_hand_is_no_suspect(desk: Any) -> None:
    job_id = desk.submit()
    for _ in range(5):
        _crash(desk, job_id)
    assert desk.state(job_id) is JobState.FAILED

    retry_jobs(desk.ledger, EVERYTHING)

    row = desk.row(job_id)
    assert (row.crash_count, row.crashed_at, row.alone_since) == (0, None, None)
