"""The least that works in two steps over a queue: a Celery chain with acks_late, nothing else.

Run with a role, `draw` or `deliver`, it is a worker. BENCH_BROKER_URL says where, BENCH_THREADS
with how many threads. The second step touches a file where it is given a path.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from pathlib import Path
from typing import Any

import redis
from celery import Celery, chain, signals

BEGAN_KEY, ENDED_KEY = "bench:began", "bench:ended"


def ready_key(role: str) -> str:
    """Set once the worker of that role consumes."""
    return f"bench:ready:{role}"


def make_app(broker_url: str) -> Celery:
    """The application, with those of imagen's settings that keep a message from getting lost."""
    app = Celery("bare", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_pool="threads",
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
    )
    _add_tasks(app, broker_url)
    return app


def _add_tasks(app: Celery, broker_url: str) -> None:
    client = redis.Redis.from_url(broker_url)
    drawn, delivered = itertools.count(1), itertools.count(1)

    @app.task(name="bare.draw", shared=False)
    def draw(prompt: str, path: str, of: int) -> list[Any]:
        if next(drawn) == 1:
            client.set(BEGAN_KEY, time.time())
        return [prompt, path, of]

    @app.task(name="bare.deliver", shared=False)
    def deliver(drawn_job: list[Any]) -> None:
        _, path, of = drawn_job
        if path:
            Path(path).touch()
        if next(delivered) == of:
            client.set(ENDED_KEY, time.time())


def send(app: Celery, *, path: str = "", of: int = 0) -> None:
    """One job: both steps; ``of`` says how many there are in all, so that the last one tells."""
    draw, deliver = app.tasks["bare.draw"], app.tasks["bare.deliver"]
    prompt = "a lighthouse on a cliff above a stormy sea at dawn"
    chain(
        draw.s(prompt, path, of).set(queue="bare.draw"),
        deliver.s().set(queue="bare.deliver"),
    ).apply_async()


def work(role: str) -> None:
    """Be a worker until told to stop."""
    broker_url = os.environ["BENCH_BROKER_URL"]
    app = make_app(broker_url)

    def tell_ready(**_: Any) -> None:
        redis.Redis.from_url(broker_url).set(ready_key(role), 1)

    signals.worker_ready.connect(tell_ready, weak=False)
    app.worker_main(
        [
            "worker",
            "--loglevel=WARNING",
            f"--queues=bare.{role}",
            f"--concurrency={os.environ['BENCH_THREADS']}",
            f"--hostname={role}@bench",
            "--without-mingle",
            "--without-gossip",
        ]
    )


if __name__ == "__main__":
    work(sys.argv[1])
