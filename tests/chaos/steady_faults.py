"""Harm that goes on while jobs are drawn: a worker killed every 2 s, or garbage in the queues."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import redis
from sqlalchemy import select

from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING
from imagen.ledger.queries.jobs import count_states
from imagen.ledger.store.tables import jobs
from imagen.queue.broker.routing import queue_key
from tests.chaos.audit import Audit, audit, queue_lengths, sweep_once
from tests.chaos.environment import Environment, wait_until
from tests.chaos.recovery import RecoveredJob, RecoveryWatch
from tests.chaos.worker_pool import Slot, WorkerPool
from tests.servers.redis_and_postgres import PostgresServer, RedisServer

_POISON = "poison"
_GARBAGE = (b"garbage", b"{}", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"headers": {"task": null}}')


@dataclass(frozen=True)
class Harm:
    """What is done, and to how many jobs; ``kill_every_s`` and ``garbage_every_s`` 0 for never."""

    jobs: int = 300
    job_s: float = 3.0
    kill_every_s: float = 2.0
    garbage_every_s: float = 0.0
    #: Jobs that kill their worker each time.
    poison: int = 0
    database: str = "postgresql"
    seed: int = 1
    timeout_s: float = 600.0


@dataclass
class Harmed:
    """What came of it; ``crashed`` are the healthy jobs that failed for crashes."""

    audit: Audit
    seconds: float
    kills: Counter[str]
    recovered: list[RecoveredJob]
    crashed: int
    poison_crashes: list[int] = field(default_factory=list)
    poison_states: Counter[str] = field(default_factory=Counter)
    #: Jobs that were made to run alone.
    isolated: int = 0


def draw_under_harm(harm: Harm, *, folder: Path, say: Callable[[str], None]) -> Harmed:
    """Two gpu and two cloud workers (6 and 12 jobs at once) draw while it happens."""
    began_s = time.monotonic()
    with ExitStack() as stack:
        redis_server = stack.enter_context(RedisServer())
        url = ""
        if harm.database == "postgresql":
            url = stack.enter_context(PostgresServer()).create_database()
        environment = stack.enter_context(_environment(harm, folder, redis_server.url, url))
        watch = RecoveryWatch(environment.imagen().ledger)
        slots = [Slot("gpu"), Slot("gpu"), Slot("cloud"), Slot("cloud"), Slot("results")]
        pool = WorkerPool(environment, slots, watch, random.Random(harm.seed), points={}, say=say)
        watch.start()
        stack.callback(watch.stop)
        pool.begin()
        number = _submit(environment, harm)
        _harm_until_done(pool, harm, number)
        wait_until(lambda: queue_lengths(environment) == 0, what="queues are empty")
        assert all(status == 0 for status in pool.end()), "a worker did not stop cleanly"
        sweep_once(environment)
        return _harmed(environment, pool, watch, time.monotonic() - began_s)


def _environment(harm: Harm, folder: Path, redis_url: str, database_url: str) -> Environment:
    latency_ms = round(harm.job_s * 1000)
    local = {"type": "mock", "latency_ms": latency_ms, "crash_if_contains": _POISON}
    paid = {**local, "queue": "cloud", "cost_usd": 0.003, "calls_log": str(folder / "calls.log")}
    return Environment(
        folder / "stage",
        redis_url,
        database_url,
        workers={"concurrency": {"gpu": 6, "cloud": 12}},
        backends={"local": local, "paid": paid},
    )


def _submit(environment: Environment, harm: Harm) -> int:
    environment.submit([f"{_POISON} {number}" for number in range(harm.poison)], backend="local")
    environment.submit([f"a fox {number}" for number in range(harm.jobs // 2)], backend="local")
    environment.submit(
        [f"an owl {number}" for number in range(harm.jobs - harm.jobs // 2)], backend="paid"
    )
    return harm.poison + harm.jobs


def _harm_until_done(pool: WorkerPool, harm: Harm, number: int) -> None:
    began_s = time.monotonic()
    kill_s = began_s + harm.kill_every_s
    garbage_s = began_s
    while _ended(pool.environment) < number:
        now_s = time.monotonic()
        assert now_s < began_s + harm.timeout_s, count_states(
            pool.environment.imagen().ledger, EVERYTHING
        )
        if harm.kill_every_s and now_s >= kill_s:
            kill_s += harm.kill_every_s
            pool.kill_one(pool.dice.choice(["gpu", "cloud"]))
        if harm.garbage_every_s and now_s >= garbage_s:
            garbage_s += harm.garbage_every_s
            _put_garbage(pool)
        pool.wait(0.1)


def _put_garbage(pool: WorkerPool) -> None:
    with redis.Redis.from_url(pool.environment.redis_url) as client:
        for queue in ("gpu", "cloud"):
            client.lpush(queue_key(queue), pool.dice.choice(_GARBAGE), os.urandom(20))
    pool.counts["garbage"] += 4


def _ended(environment: Environment) -> int:
    states = count_states(environment.imagen().ledger, EVERYTHING)
    return sum(states.get(state, 0) for state in JobState if state.is_terminal)


def _harmed(
    environment: Environment, pool: WorkerPool, watch: RecoveryWatch, seconds: float
) -> Harmed:
    with environment.imagen().ledger.read() as connection:
        rows = connection.execute(
            select(
                jobs.c.request,
                jobs.c.state,
                jobs.c.error_code,
                jobs.c.crash_count,
                jobs.c.alone_since,
            )
        ).all()
    poison = [row for row in rows if _POISON in row.request["user_prompt"]]
    healthy = [row for row in rows if _POISON not in row.request["user_prompt"]]
    return Harmed(
        audit(environment, calls_log=environment.folder.parent / "calls.log"),
        seconds,
        pool.counts,
        watch.recovered,
        sum(row.error_code == "worker_crashed" and row.state == "failed" for row in healthy),
        [row.crash_count for row in poison],
        Counter(f"{row.state} {row.error_code}" for row in poison),
        sum(row.alone_since is not None for row in healthy),
    )
