"""What the dead left is put right, by one process at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING
from imagen.ledger.jobs.cancel_and_retry import request_cancel
from imagen.ledger.jobs.delivery import claim_deliveries
from imagen.ledger.jobs.worker_rows import live_workers, report_worker
from imagen.ledger.outbox.outbox import claim_outgoing
from imagen.ledger.queries.usage_rows import record_usage
from imagen.services.leases import process_lock


def test_one_process_reconciles_at_a_time(studio: Any) -> None:
    first, second = studio.reconciler("one"), studio.reconciler("two")

    assert first.tick()
    assert not second.tick()
    assert first.tick()


def test_the_turn_goes_on_when_its_holder_leaves(studio: Any) -> None:
    first, second = studio.reconciler("one"), studio.reconciler("two")
    first.tick()

    first.leave()

    assert second.tick()


def test_a_hung_reconciler_is_replaced_when_its_lease_ran_out(studio: Any) -> None:
    studio.reconciler("hung").tick()
    table = "locks" if studio.desk.ledger.path else "imagen.locks"
    studio.desk.sql(f"UPDATE {table} SET expires_at = '2020-01-01 00:00:00'")

    assert studio.reconciler("two").tick()


def test_expired_jobs_are_claimable_again(studio: Any) -> None:
    job_id = studio.desk.submit()
    studio.desk.must_claim("dead")
    studio.desk.expire(job_id)

    studio.reconciler().tick()

    assert studio.desk.must_claim("two").job.id == job_id


def test_jobs_of_a_dead_process_of_this_host_are_claimable_at_once(studio: Any) -> None:
    job_id = studio.desk.submit()
    left = process_lock.enter(Path.cwd() / "owners", "dead")
    studio.desk.must_claim("dead")
    studio.reconciler().tick()
    assert studio.desk.state(job_id) is JobState.RUNNING

    os.close(left.handle)
    studio.reconciler().tick()

    assert studio.desk.must_claim("two").job.id == job_id


def test_a_process_never_takes_its_own_jobs_for_those_of_the_dead(studio: Any) -> None:
    job_id = studio.desk.submit()
    left = process_lock.enter(Path.cwd() / "owners", "one")
    os.close(left.handle)
    studio.desk.must_claim("one")

    studio.reconciler("one").tick()

    assert studio.desk.state(job_id) is JobState.RUNNING


def test_canceled_jobs_of_the_dead_are_ended(studio: Any) -> None:
    job_id = studio.desk.submit()
    studio.desk.must_claim("dead")
    request_cancel(studio.desk.ledger, EVERYTHING)
    studio.desk.expire(job_id)

    studio.reconciler().tick()

    assert studio.desk.state(job_id) is JobState.CANCELED


def test_a_job_that_crashed_too_often_fails(studio: Any) -> None:
    job_id = studio.desk.submit()
    for _ in range(2):
        studio.desk.must_claim("dead")
        studio.desk.expire(job_id)
        studio.reconciler(max_crashes=2).tick()
        studio.desk.sql(
            "DELETE FROM locks" if studio.desk.ledger.path else "DELETE FROM imagen.locks"
        )

    assert studio.desk.job(job_id).error_code == "worker_crashed"


def test_the_sweep_leaves_no_artifact_of_an_ended_job(studio: Any) -> None:
    studio.desk.generated()
    request_cancel(studio.desk.ledger, EVERYTHING)
    assert len(studio.desk.artifact_rows()) == 1

    studio.reconciler().tick()

    assert studio.desk.artifact_rows() == []
    assert studio.desk.artifact_files() == []


def test_the_sweep_is_not_done_at_every_tick(studio: Any) -> None:
    reconciler = studio.reconciler()
    reconciler.tick()
    studio.desk.generated()
    request_cancel(studio.desk.ledger, EVERYTHING)

    reconciler.tick()
    assert len(studio.desk.artifact_rows()) == 1

    studio.clock.sleep(61)
    reconciler.tick()
    assert studio.desk.artifact_rows() == []


def test_workers_that_were_not_seen_for_a_day_are_forgotten(studio: Any) -> None:
    for owner in ("old", "new"):
        report_worker(
            studio.desk.ledger, owner, host="h", role="gpu", queues=["gpu"], backends=["mock"]
        )
    table = "workers" if studio.desk.ledger.path else "imagen.workers"
    studio.desk.sql(f"UPDATE {table} SET seen_at = '2020-01-01 00:00:00' WHERE owner = 'old'")

    studio.reconciler().tick()

    assert [worker.owner for worker in live_workers(studio.desk.ledger, within_s=1e9)] == ["new"]


def test_the_lock_files_of_the_dead_are_swept(studio: Any) -> None:
    folder = Path.cwd() / "owners"
    left = process_lock.enter(folder, "dead")
    os.close(left.handle)

    studio.reconciler().tick()

    assert list(folder.iterdir()) == []


def test_a_process_of_this_host_that_is_only_stopped_counts_no_crash(studio: Any) -> None:
    job_id = studio.desk.submit()
    left = process_lock.enter(Path.cwd() / "owners", "stopped")
    studio.desk.must_claim("stopped")
    studio.desk.expire(job_id)

    studio.reconciler().tick()

    job = studio.desk.job(job_id)
    assert (job.state, job.crash_count) == (JobState.QUEUED, 0)
    left.leave()


def hold_outbox_item(studio: Any, owner: str) -> None:
    """One usage row in the outbox that ``owner`` is sending."""
    desk = studio.desk
    desk.generated()
    [claim] = claim_deliveries(desk.ledger, desk.claimant(), host="here")
    record_usage(desk.ledger, [claim], also_send=True)
    assert claim_outgoing(desk.ledger, owner, limit=1)


def test_what_a_dead_process_of_this_host_was_sending_is_free_at_once(studio: Any) -> None:
    left = process_lock.enter(Path.cwd() / "owners", "dead")
    hold_outbox_item(studio, "dead")
    studio.reconciler().tick()
    assert claim_outgoing(studio.desk.ledger, "two", limit=1) == []

    os.close(left.handle)
    studio.reconciler().tick()

    assert len(claim_outgoing(studio.desk.ledger, "two", limit=1)) == 1


def test_the_sweep_keeps_the_lock_file_of_the_dead_while_they_hold_something_to_send(
    studio: Any,
) -> None:
    left = process_lock.enter(Path.cwd() / "owners", "dead")
    hold_outbox_item(studio, "dead")
    os.close(left.handle)

    studio.reconciler()._sweep_lock_files()

    assert left.path.exists()


def test_the_lock_files_of_this_host_are_swept_while_another_host_has_the_turn(
    studio: Any,
) -> None:
    assert studio.reconciler("another host").tick()
    left = process_lock.enter(Path.cwd() / "owners", "dead")
    os.close(left.handle)

    assert not studio.reconciler("this host").tick()

    assert not left.path.exists()
