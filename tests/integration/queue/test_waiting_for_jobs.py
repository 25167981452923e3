"""Waits, wake-ups and order: what a job may rely on while Redis may not be."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import redis
from sqlalchemy import func, select

from imagen.domain.job import JobState
from imagen.domain.scope import Scope
from imagen.ledger.store.tables import jobs
from tests.processes.environment import SHORT_LEASES
from tests.waiting import wait_until

QUICK = {"type": "mock", "latency_ms": 20}


class Ears:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.missing: list[str] = []

    def on_outcome(self, outcome: Any) -> None:
        self.events.append(outcome)

    def on_event(self, job_id: UUID, event: Any) -> None:
        self.events.append(event)

    def on_missing_worker(self, queue: str) -> None:
        self.missing.append(queue)

    def on_pause(self, backend: str, reason: str) -> None:
        raise AssertionError(f"{backend} is paused: {reason}")

    def on_unreachable(self, backend: str, reason: str) -> None:
        raise AssertionError(f"{backend} cannot be reached: {reason}")


def test_a_waiting_command_delivers_its_own_job_where_no_results_worker_runs(make_environment):
    environment = make_environment(backends={"mock": QUICK})
    environment.start_ready("gpu")
    job_id = environment.submit_one()

    is_done = environment.wait(Scope(job_ids=(job_id,)), timeout_s=30)

    assert is_done
    assert Path(environment.job(job_id).output_path).exists()


def test_a_waiting_command_leaves_delivery_to_the_results_worker_of_its_host(make_environment):
    environment = make_environment(backends={"mock": QUICK})
    environment.start_ready("gpu")
    environment.start_ready("results")
    ears = Ears()
    job_id = environment.submit_one()

    is_done = environment.wait(Scope(job_ids=(job_id,)), timeout_s=30, listener=ears)

    assert is_done
    assert Path(environment.job(job_id).output_path).exists()
    assert [each for each in ears.events if not isinstance(each, dict)] == [], "nothing done here"


def test_a_wait_says_which_worker_is_missing_and_gives_up_in_time(make_environment):
    environment = make_environment(backends={"mock": QUICK})
    ears = Ears()
    job_id = environment.submit_one()

    is_done = environment.wait(Scope(job_ids=(job_id,)), timeout_s=6, listener=ears)

    assert not is_done
    assert ears.missing == ["gpu"]
    assert environment.job(job_id).state is JobState.QUEUED


def test_a_wait_ends_although_redis_was_down_when_the_image_came(make_environment, own_redis):
    environment = make_environment(
        redis_url=own_redis.url, backends={"mock": {"type": "mock", "latency_ms": 1500}}
    )
    environment.start_ready("gpu")
    job_id = environment.submit_one()
    answers: list[bool] = []
    waiting = threading.Thread(
        target=lambda: answers.append(environment.wait(Scope(job_ids=(job_id,)), timeout_s=40))
    )
    waiting.start()
    environment.wait_for(job_id, JobState.RUNNING)

    own_redis.kill()
    waiting.join()

    assert answers == [True]
    assert Path(environment.job(job_id).output_path).exists()


def test_a_job_accepted_while_redis_is_down_is_drawn_when_it_is_back(make_environment, own_redis):
    environment = make_environment(redis_url=own_redis.url, backends={"mock": QUICK})
    environment.start_ready("gpu")
    environment.start_ready("results")
    own_redis.kill()
    job_id = environment.submit_one(wake=False)

    own_redis.start()

    assert environment.wait_for(job_id, JobState.SUCCEEDED).output_path


def test_a_flushed_redis_loses_no_job(make_environment, own_redis):
    environment = make_environment(
        redis_url=own_redis.url, backends={"mock": {"type": "mock", "latency_ms": 100}}
    )
    environment.start_ready("gpu")
    environment.start_ready("results")
    environment.submit(f"fox {number}" for number in range(20))
    wait_until(lambda: environment.count_messages("gpu") > 0, what="wake-ups wait")

    with redis.Redis.from_url(own_redis.url) as client:
        client.flushall()

    environment.wait_until_succeeded(20)


def test_a_long_wait_stays_in_the_row_and_out_of_every_workers_memory(make_environment):
    patient = {"type": "mock", "rate_limit_first": 1, "retry_after_s": 120}
    environment = make_environment(backends={"patient": patient, "mock": QUICK})
    environment.start_ready("gpu")
    environment.start_ready("results")

    job_id = environment.submit_one(backend="patient")
    wait_until(lambda: environment.job(job_id).not_before, what="it is put off")

    job = environment.job(job_id)
    assert job.state is JobState.QUEUED
    assert job.not_before - datetime.now(UTC) > timedelta(seconds=90)
    wait_until(lambda: environment.count_fetched() == 0, what="no worker holds a message for it")
    environment.wait_for(environment.submit_one("another", backend="mock"), JobState.SUCCEEDED)
    assert environment.count_messages("gpu") == 0


def test_a_retry_is_seen_as_one_by_whoever_listens_to_celery(make_environment, tmp_path):
    shaky = {"type": "mock", "fail_first": 1, "state_dir": str(tmp_path / "tries")}
    environment = make_environment(backends={"shaky": shaky})
    app = environment.publisher.app
    seen: list[dict[str, Any]] = []
    stop = threading.Event()

    def listen() -> None:
        with app.connection_for_read() as connection:
            handlers = {"*": seen.append}
            receiver = app.events.Receiver(connection, handlers=handlers)
            while not stop.is_set():
                try:
                    receiver.capture(limit=None, timeout=0.2, wakeup=False)
                except TimeoutError:
                    continue

    ears = threading.Thread(target=listen)
    ears.start()
    try:
        environment.start_ready("gpu")
        environment.start_ready("results")
        job_id = environment.submit_one()
        environment.wait_for(job_id, JobState.SUCCEEDED)
        of_job = {"task-retried", "task-succeeded"}
        wait_until(
            lambda: of_job <= {each["type"] for each in seen if each.get("uuid") == str(job_id)},
            what="the retry and the success were told",
        )
    finally:
        stop.set()
        ears.join()

    retried = next(each for each in seen if each["type"] == "task-retried")
    assert "BackendUnavailable" in retried["exception"]
    assert environment.job(job_id).attempt_count == 1


def test_an_interactive_job_is_drawn_right_after_the_one_that_runs(make_environment):
    slow = {"type": "mock", "latency_ms": 400}
    environment = make_environment(
        backends={"mock": slow}, workers=SHORT_LEASES | {"concurrency": {"gpu": 1}}
    )
    environment.submit(f"bulk {number}" for number in range(1000))
    environment.start_ready("gpu")
    environment.start_ready("results")
    wait_until(lambda: environment.states().get(JobState.RUNNING), what="bulk is being drawn")

    job_id = environment.submit_one("urgent")
    wait_until(lambda: environment.job(job_id).started_at, what="it is drawn")

    with environment.ledger.read() as connection:
        began_before_it = connection.scalar(
            select(func.count()).where(
                jobs.c.id != job_id,
                jobs.c.started_at > environment.job(job_id).created_at,
                jobs.c.started_at < environment.job(job_id).started_at,
            )
        )
    assert began_before_it <= 1


def test_a_batch_hears_the_progress_of_its_running_jobs_and_nothing_else_of_them(make_environment):
    environment = make_environment(backends={"mock": {"type": "mock", "latency_ms": 1500}})
    environment.start_ready("gpu")
    ears = Ears()
    submitted = environment.submit(["a fox", "an owl", "a hare"])

    is_done = environment.wait(submitted.scope, timeout_s=60, listener=ears)

    assert is_done
    heard = [each for each in ears.events if isinstance(each, dict)]
    assert heard
    assert {each["event"] for each in heard} == {"progress"}
