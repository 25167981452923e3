"""A file of real prompts, drawn while every worker is killed five times and Redis forgets all."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING
from imagen.ledger.queries.jobs import count_states
from tests.chaos.audit import Audit, audit, queue_lengths, sweep_once
from tests.chaos.environment import Environment, wait_until
from tests.chaos.recovery import RecoveredJob, RecoveryWatch
from tests.chaos.worker_pool import Slot, WorkerPool
from tests.servers.redis_and_postgres import PostgresServer, RedisServer

_KILLS_EACH = 5


@dataclass
class Drawn:
    """What came of it: ``doubles`` are prompts that were drawn more than once."""

    prompts: int
    audit: Audit
    doubles: int
    seconds: float
    kills: Counter[str] = field(default_factory=Counter)
    recovered: list[RecoveredJob] = field(default_factory=list)


def read_prompts(path: Path) -> list[str]:
    """The first column of a tab-separated file, without its header."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return [line.split("\t")[0] for line in lines if line.strip()]


def draw_file(
    prompts: list[str], *, folder: Path, seed: int, database: str, say: Callable[[str], None]
) -> Drawn:
    """Draw them with three worker processes on one host and settings as nobody changed them."""
    began_s = time.monotonic()
    with ExitStack() as stack:
        redis_server = stack.enter_context(RedisServer())
        url = ""
        if database == "postgresql":
            url = stack.enter_context(PostgresServer()).create_database()
        backends = {"mock": {"type": "mock", "latency_ms": 40}}
        environment = stack.enter_context(
            Environment(folder / "stage", redis_server.url, url, workers={}, backends=backends)
        )
        watch = RecoveryWatch(environment.imagen().ledger)
        slots = [Slot("gpu"), Slot("gpu"), Slot("results")]
        pool = WorkerPool(environment, slots, watch, random.Random(seed), points={}, say=say)
        watch.start()
        stack.callback(watch.stop)
        pool.begin()
        environment.submit(prompts, name=folder.name)
        _harm(pool, len(prompts))
        _wait_for_all(pool, len(prompts), say)
        pool.end()
        sweep_once(environment)
        found = audit(environment)
        return Drawn(
            len(prompts),
            found,
            found.attempts["drawn"] - found.jobs,
            time.monotonic() - began_s,
            pool.counts,
            watch.recovered,
        )


def _harm(pool: WorkerPool, jobs: int) -> None:
    """Each slot is killed five times, spread over the whole run; Redis is flushed in the middle."""
    acts = [str(number) for number in range(len(pool.slots))] * _KILLS_EACH
    pool.dice.shuffle(acts)
    acts.insert(len(acts) // 2, "flush")
    for number, act in enumerate(acts, start=1):
        # By progress, not by time: so that no kill comes when all is done.
        due = jobs * 0.9 * number / (len(acts) + 1) * pool.dice.uniform(0.9, 1.0)
        while _done(pool.environment) < due:
            pool.wait(0.05)
        if act == "flush":
            pool.flush_redis()
        else:
            pool.kill_slot(int(act))


def _wait_for_all(pool: WorkerPool, number: int, say: Callable[[str], None]) -> None:
    say("no more harm; waiting for the rest")
    deadline_s = time.monotonic() + 600
    while _done(pool.environment) < number:
        assert time.monotonic() < deadline_s, count_states(
            pool.environment.imagen().ledger, EVERYTHING
        )
        pool.wait(0.1)
    wait_until(lambda: queue_lengths(pool.environment) == 0, what="queues are empty")


def _done(environment: Environment) -> int:
    states = count_states(environment.imagen().ledger, EVERYTHING)
    return sum(states.get(state, 0) for state in JobState if state.is_terminal)
