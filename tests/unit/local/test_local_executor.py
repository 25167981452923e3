"""The embedded executor: draws and delivers what a command named, in threads of its process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING, Scope
from imagen.errors import OutOfCredit
from imagen.ledger.jobs.cancel_and_retry import request_cancel
from imagen.ledger.jobs.leases import lease_owners
from imagen.ledger.jobs.pauses import paused_backends
from imagen.ledger.jobs.submit import open_batch

DEADLINE_S = 60.0


def images(desk: Any) -> list[str]:
    return sorted(path.name for path in desk.folder.glob("*.png"))


def test_a_run_ends_when_all_that_was_named_is_drawn_and_delivered(desk: Any, start: Any) -> None:
    ids = [desk.submit() for _ in range(20)]

    assert start(desk.ledger).run(Scope(job_ids=tuple(ids)), timeout_s=DEADLINE_S)

    assert {desk.state(job_id) for job_id in ids} == {JobState.SUCCEEDED}
    assert len(images(desk)) == 20
    assert desk.artifact_rows() == []
    assert lease_owners(desk.ledger) == set()


def test_a_run_with_nothing_to_do_ends_at_once(sqlite_desk: Any, start: Any) -> None:
    assert start(sqlite_desk.ledger).run(Scope(job_ids=()), timeout_s=DEADLINE_S)


def test_other_peoples_jobs_are_left_alone(sqlite_desk: Any, start: Any) -> None:
    left_over = sqlite_desk.submit()
    named = sqlite_desk.submit()

    assert start(sqlite_desk.ledger).run(Scope(job_ids=(named,)), timeout_s=DEADLINE_S)

    assert sqlite_desk.state(left_over) is JobState.QUEUED
    assert sqlite_desk.state(named) is JobState.SUCCEEDED


def test_other_peoples_images_are_not_delivered_either(sqlite_desk: Any, start: Any) -> None:
    left_over = sqlite_desk.generated()
    named = sqlite_desk.submit()

    assert start(sqlite_desk.ledger).run(Scope(job_ids=(named,)), timeout_s=DEADLINE_S)

    assert sqlite_desk.state(left_over) is JobState.GENERATED


def test_what_an_earlier_run_drew_is_delivered(sqlite_desk: Any, start: Any) -> None:
    job_id = sqlite_desk.generated()

    assert start(sqlite_desk.ledger).run(Scope(job_ids=(job_id,)), timeout_s=DEADLINE_S)

    assert len(images(sqlite_desk)) == 1


def test_two_processes_share_a_batch_and_draw_nothing_twice(
    desk: Any, start: Any, another_process: Any, in_background: Any, tmp_path: Path
) -> None:
    batch = open_batch(desk.ledger, "prompts", name="prompts")
    for number in range(40):
        desk.submit(
            batch_id=batch.id,
            run=1,
            dedupe_key=str(number),
            request=desk.request(seed=number + 1),
        )
    scope = Scope(batch_id=batch.id, run=1)
    log = tmp_path / "calls"
    ends: list[bool] = []
    executors = [
        start(ledger, calls_log=log, latency_ms=5)
        for ledger in (desk.ledger, another_process(desk.ledger))
    ]

    threads = [
        in_background(lambda each=each: ends.append(each.run(scope, timeout_s=DEADLINE_S)))
        for each in executors
    ]
    for thread in threads:
        thread.join()

    assert ends == [True, True]
    assert len(images(desk)) == 40
    seeds = [line.split("\t")[1] for line in log.read_text().splitlines()]
    assert sorted(seeds, key=int) == [str(number + 1) for number in range(40)]


def test_a_failed_job_ends_the_wait_for_it(sqlite_desk: Any, start: Any, ear: Any) -> None:
    job_id = sqlite_desk.submit()

    executor = start(sqlite_desk.ledger, ear=ear, reject=True)
    assert executor.run(Scope(job_ids=(job_id,)), timeout_s=DEADLINE_S)

    assert sqlite_desk.state(job_id) is JobState.FAILED
    [outcome] = ear.outcomes
    assert (outcome.state, outcome.error.code) == (JobState.FAILED, "backend_rejected")


def test_a_backend_that_fails_at_first_is_tried_again(sqlite_desk: Any, start: Any) -> None:
    job_id = sqlite_desk.submit()

    executor = start(sqlite_desk.ledger, fail_first=2)
    assert executor.run(Scope(job_ids=(job_id,)), timeout_s=DEADLINE_S)

    assert sqlite_desk.state(job_id) is JobState.SUCCEEDED
    assert len(sqlite_desk.attempts(job_id)) == 1


def test_a_rate_limit_is_waited_for(sqlite_desk: Any, start: Any) -> None:
    job_id = sqlite_desk.submit()

    executor = start(sqlite_desk.ledger, rate_limit_first=2, retry_after_s=0.0)
    assert executor.run(Scope(job_ids=(job_id,)), timeout_s=DEADLINE_S)

    assert sqlite_desk.state(job_id) is JobState.SUCCEEDED
    assert len(sqlite_desk.attempts(job_id)) == 1


def test_an_empty_account_ends_the_run_and_keeps_the_jobs(sqlite_desk: Any, start: Any) -> None:
    ids = [sqlite_desk.submit() for _ in range(3)]

    with pytest.raises(OutOfCredit):
        start(sqlite_desk.ledger, out_of_credit=True).run(
            Scope(job_ids=tuple(ids)), timeout_s=DEADLINE_S
        )

    assert {sqlite_desk.state(job_id) for job_id in ids} == {JobState.QUEUED}
    assert list(paused_backends(sqlite_desk.ledger)) == ["mock"]


def test_a_run_gives_up_when_its_time_is_over_and_gives_back_what_it_held(
    sqlite_desk: Any, start: Any
) -> None:
    job_id = sqlite_desk.submit()

    executor = start(sqlite_desk.ledger, hang_if_contains="fox")
    assert not executor.run(Scope(job_ids=(job_id,)), timeout_s=0.05)

    job = sqlite_desk.job(job_id)
    assert (job.state, job.lease_owner, job.crash_count) == (JobState.QUEUED, None, 0)


def test_stopping_gives_back_what_runs_with_its_external_id(
    desk: Any, start: Any, in_background: Any, ear: Any
) -> None:
    job_id = desk.submit()
    waiting = desk.submit()
    executor = start(desk.ledger, ear=ear, gpu=1, hang_if_contains="fox", cost_usd="0.003")
    thread = in_background(lambda: executor.run(EVERYTHING))
    ear.wait_for("progress")

    executor.stop()
    thread.join(DEADLINE_S)

    assert not thread.is_alive()
    assert desk.state(waiting) is JobState.QUEUED
    job = desk.job(job_id)
    assert (job.state, job.lease_owner, job.crash_count) == (JobState.QUEUED, None, 0)
    [attempt] = desk.attempts(job_id)
    assert attempt.external_id == f"mock-{attempt.id}"


def test_stopping_with_grace_lets_what_runs_finish(
    sqlite_desk: Any, start: Any, in_background: Any, ear: Any
) -> None:
    ids = [sqlite_desk.submit() for _ in range(2)]
    executor = start(sqlite_desk.ledger, ear=ear, gpu=1, latency_ms=300)
    thread = in_background(lambda: executor.run(EVERYTHING))
    ear.wait_for("progress")

    executor.stop(grace_s=DEADLINE_S)
    thread.join(DEADLINE_S)

    assert sqlite_desk.state(ids[0]) in (JobState.GENERATED, JobState.SUCCEEDED)
    assert sqlite_desk.state(ids[1]) is JobState.QUEUED


def test_a_stop_from_a_callback_does_not_lock_up(sqlite_desk: Any, start: Any, ear: Any) -> None:
    for _ in range(5):
        sqlite_desk.submit()
    executor = start(sqlite_desk.ledger, ear=ear)
    ear.on_event_do = lambda _event: executor.stop()

    executor.run(EVERYTHING, timeout_s=DEADLINE_S)

    assert lease_owners(sqlite_desk.ledger) == set()


def test_a_killed_run_is_taken_up_at_once(sqlite_desk: Any, start: Any) -> None:
    from imagen.services.leases import process_lock

    left = process_lock.enter(Path.cwd() / "owners", "dead")
    drawing, delivering = sqlite_desk.submit(), sqlite_desk.submit()
    sqlite_desk.must_claim("dead")
    claim = sqlite_desk.must_claim("dead")
    sqlite_desk.generate(claim)
    sqlite_desk.set(delivering, lease_owner="dead", lease_expires_at=claim.job.lease_expires_at)
    import os

    os.close(left.handle)

    assert start(sqlite_desk.ledger).run(EVERYTHING, timeout_s=DEADLINE_S)

    assert sqlite_desk.state(drawing) is JobState.SUCCEEDED
    assert sqlite_desk.state(delivering) is JobState.SUCCEEDED


def test_a_cancel_stops_a_hanging_job(
    sqlite_desk: Any, start: Any, in_background: Any, ear: Any
) -> None:
    job_id = sqlite_desk.submit()
    executor = start(sqlite_desk.ledger, ear=ear, hang_if_contains="fox", lease_s=1.0)
    thread = in_background(lambda: executor.run(EVERYTHING, timeout_s=DEADLINE_S))
    ear.wait_for("progress")

    request_cancel(sqlite_desk.ledger, EVERYTHING)
    thread.join(DEADLINE_S)

    assert sqlite_desk.state(job_id) is JobState.CANCELED
