"""What workers do to jobs when they crash, stop, are full, or are told to cancel."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import func, select, update

from imagen.domain.job import JobState
from imagen.domain.scope import Scope
from imagen.ledger.jobs.cancel_and_retry import request_cancel
from imagen.ledger.queries.jobs import count_states
from imagen.ledger.store.tables import artifacts, jobs
from tests.processes.environment import HOST, SHORT_LEASES
from tests.waiting import wait_until

QUICK = {"type": "mock", "latency_ms": 20}


def test_a_poison_job_fails_after_so_many_crashes_and_takes_nobody_with_it(make_environment):
    environment = make_environment(
        workers=SHORT_LEASES | {"max_crashes": 3},
        backends={"mock": {"type": "mock", "latency_ms": 30, "crash_if_contains": "poison"}},
    )
    environment.start_ready("results")
    poison = environment.submit_one("poison")
    others = [environment.submit_one(f"a harmless fox {number}") for number in range(20)]
    keeper = environment.start_ready("gpu")

    def is_over() -> bool:
        nonlocal keeper
        if not keeper.is_alive:
            keeper = environment.start("gpu")
        return environment.job(poison).state.is_terminal

    wait_until(is_over, what="the poison job is over", timeout_s=60)

    failed = environment.job(poison)
    assert (failed.state, failed.error_code) == (JobState.FAILED, "worker_crashed")
    assert failed.crash_count == 3
    if not keeper.is_alive:
        environment.start("gpu")
    for other in others:
        # Company of the poison job until its second crash, from which on it runs alone.
        assert environment.wait_for(other, JobState.SUCCEEDED).crash_count <= 2


def test_generators_stop_while_too_much_waits_for_delivery(make_environment):
    environment = make_environment(
        backends={"mock": QUICK}, settings={"artifacts": {"max_bytes": 1}}
    )
    environment.start_ready("cloud")
    environment.start_ready("gpu")
    environment.submit(f"fox {number}" for number in range(400))

    def is_full() -> bool:
        waiting = environment.states().get(JobState.GENERATED, 0)
        time.sleep(2 * SHORT_LEASES["heartbeat_s"])
        return bool(waiting) and environment.states().get(JobState.GENERATED, 0) == waiting

    wait_until(is_full, what="nothing more is drawn")
    assert environment.states()[JobState.QUEUED] > 0

    environment.start("results")
    wait_until(lambda: environment.states().get(JobState.SUCCEEDED, 0) > 0, what="deliveries go on")
    before = environment.states()[JobState.SUCCEEDED]
    wait_until(
        lambda: environment.states()[JobState.SUCCEEDED] > before + 20, what="and so does drawing"
    )


def test_a_host_that_collects_nothing_stops_the_drawing_for_itself_alone(make_environment):
    environment = make_environment(
        backends={"mock": QUICK}, settings={"artifacts": {"max_bytes": 1}}
    )
    environment.submit((f"away {number}" for number in range(200)), host="away", name="away")
    environment.submit((f"fox {number}" for number in range(60)), name="here")
    environment.start_ready("results")
    environment.start_ready("cloud")
    environment.start_ready("gpu")

    def states_of(host):
        return count_states(environment.ledger, Scope(delivery_host=host))

    wait_until(
        lambda: states_of(HOST) == {JobState.SUCCEEDED: 60},
        what="all images of the host that is there are delivered",
        timeout_s=120,
    )

    assert states_of("away")[JobState.QUEUED] > 0
    assert states_of("away")[JobState.GENERATED] > 0


def test_a_queued_job_that_is_canceled_is_never_drawn(make_environment, tmp_path):
    calls = tmp_path / "calls.log"
    environment = make_environment(backends={"mock": QUICK | {"calls_log": str(calls)}})
    job_id = environment.submit_one()
    request_cancel(environment.ledger, Scope(job_ids=(job_id,)))

    environment.start_ready("gpu")
    environment.start_ready("results")
    other = environment.submit_one("another")
    environment.wait_for(other, JobState.SUCCEEDED)

    assert environment.job(job_id).state is JobState.CANCELED
    assert len(calls.read_text().splitlines()) == 1


def test_a_running_job_that_is_canceled_stops_at_its_backend(make_environment):
    environment = make_environment(backends={"mock": {"type": "mock", "latency_ms": 60_000}})
    environment.start_ready("gpu")
    job_id = environment.submit_one()
    environment.wait_for(job_id, JobState.RUNNING)

    request_cancel(environment.ledger, Scope(job_ids=(job_id,)))

    environment.wait_for(job_id, JobState.CANCELED, timeout_s=10)


def test_a_generated_job_that_is_canceled_leaves_no_file_and_no_artifact(make_environment):
    environment = make_environment(backends={"mock": QUICK})
    environment.start_ready("gpu")
    job_id = environment.submit_one()
    environment.wait_for(job_id, JobState.GENERATED)

    request_cancel(environment.ledger, Scope(job_ids=(job_id,)))
    environment.start_ready("results")

    assert environment.job(job_id).state is JobState.CANCELED
    assert list(environment.output.iterdir()) == []
    ledger = environment.ledger

    def is_swept() -> bool:
        with ledger.read() as connection:
            return connection.scalar(select(func.count()).select_from(artifacts)) == 0

    wait_until(is_swept, what="its artifact is swept")


def test_no_more_wakeups_wait_than_the_window_however_many_jobs_do(make_environment):
    environment = make_environment(backends={"mock": QUICK}, settings={"queue": {"window": 50}})
    environment.submit(f"fox {number}" for number in range(5000))
    seen: list[int] = []
    # Nobody draws: the caretaker alone is at it, several times a second.
    environment.start_ready("cloud")
    wait_until(lambda: environment.count_messages("gpu") > 0, what="wake-ups wait")

    until_s = time.monotonic() + 5 * SHORT_LEASES["reconcile_s"]
    while time.monotonic() < until_s:
        seen.append(environment.count_messages("gpu"))
        time.sleep(0.02)

    assert max(seen) == 50


def test_a_host_without_a_results_worker_piles_up_no_messages(make_environment):
    environment = make_environment(backends={"mock": QUICK})
    workers = [environment.start_ready("cloud"), environment.start_ready("gpu")]
    job_id = environment.submit_one()
    environment.wait_for(job_id, JobState.GENERATED)
    # Two processes that look at the queue at the same moment may both send.
    for worker in workers:
        worker.terminate(timeout_s=10)
    with redis.Redis.from_url(environment.redis_url) as client:
        # As if two seconds had gone by a hundred times.
        for _ in range(100):
            client.delete(f"imagen:drain.{HOST}")
            environment.publisher.wake_results(HOST)

    assert environment.count_messages(f"results.{HOST}") <= 10


def test_sigterm_gives_leases_back_so_that_no_crash_is_counted_and_nothing_is_paid_twice(
    make_environment, tmp_path
):
    calls = tmp_path / "calls.log"
    paid = {"type": "mock", "latency_ms": 3000, "cost_usd": 0.01, "calls_log": str(calls)}
    environment = make_environment(backends={"mock": paid}, workers=SHORT_LEASES | {"grace_s": 0.5})
    environment.start_ready("results")
    first = environment.start_ready("gpu")
    job_id = environment.submit_one()
    wait_until(lambda: calls.exists(), what="it is paid")

    assert first.terminate(timeout_s=10) == 0

    given_back = environment.job(job_id)
    assert (given_back.state, given_back.crash_count) == (JobState.QUEUED, 0)
    environment.start_ready("gpu")
    done = environment.wait_for(job_id, JobState.SUCCEEDED)
    assert (done.attempt_count, done.crash_count) == (1, 0)
    assert len(calls.read_text().splitlines()) == 1


def test_sigterm_lets_what_runs_finish_within_the_grace(make_environment):
    environment = make_environment(
        backends={"mock": {"type": "mock", "latency_ms": 1000}},
        workers=SHORT_LEASES | {"grace_s": 20},
    )
    worker = environment.start_ready("gpu")
    job_id = environment.submit_one()
    environment.wait_for(job_id, JobState.RUNNING)

    assert worker.terminate() == 0

    assert environment.job(job_id).state is JobState.GENERATED


@pytest.mark.parametrize("skew_s", [3600.0, -3600.0])
def test_a_worker_whose_clock_is_wrong_by_an_hour_keeps_its_leases(
    make_environment, postgres_url, skew_s
):
    environment = make_environment(
        database_url=postgres_url,
        backends={"mock": {"type": "mock", "latency_ms": 2500}},
        workers=SHORT_LEASES | {"lease_s": 1, "heartbeat_s": 0.3},
    )
    environment.start_ready("results", skew_s=-skew_s)
    environment.start_ready("gpu", skew_s=skew_s)

    job_id = environment.submit_one()

    # Longer than a lease, so that it was renewed on the way.
    done = environment.wait_for(job_id, JobState.SUCCEEDED)
    assert (done.attempt_count, done.crash_count) == (1, 0)
    assert abs(done.finished_at - datetime.now(UTC)) < timedelta(minutes=10)


def test_a_ledger_that_is_away_for_longer_than_a_lease_counts_no_crash(
    make_environment, own_postgres
):
    environment = make_environment(
        database_url=own_postgres.create_database(),
        workers=SHORT_LEASES | {"lease_s": 1, "heartbeat_s": 0.3},
        backends={"mock": {"type": "mock", "latency_ms": 5000}},
    )
    environment.start_ready("results")
    environment.start_ready("gpu")
    job_id = environment.submit_one()
    environment.wait_for(job_id, JobState.RUNNING)

    own_postgres.kill()
    time.sleep(2.5)
    own_postgres.start()
    wait_until(lambda: not environment.has_lost_ledger(), what="we see the ledger again")

    done = environment.wait_for(job_id, JobState.SUCCEEDED)
    assert (done.attempt_count, done.crash_count) == (1, 0)


def test_a_lease_that_ran_out_elsewhere_is_taken_back(make_environment):
    environment = make_environment(backends={"mock": QUICK})
    job_id = environment.submit_one(wake=False)
    with environment.ledger.write() as connection:
        connection.execute(
            update(jobs).values(
                state="running",
                lease_owner="another-host:1:abcd",
                lease_expires_at=datetime.now(UTC) - timedelta(seconds=1),
            )
        )

    environment.start_ready("gpu")
    environment.start_ready("results")

    assert environment.wait_for(job_id, JobState.SUCCEEDED).crash_count == 1
