"""Whole plays: what is on stage, what is done to it, and what came of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING
from imagen.errors import ImagenError
from imagen.ledger.queries.jobs import count_states
from imagen.ledger.queries.unfinished_jobs import has_unfinished
from tests.chaos.audit import Audit, audit, queue_lengths, sweep_once
from tests.chaos.environment import SHORT_LEASES, Environment, wait_until
from tests.chaos.kill_points import POINTS, KillPoint
from tests.chaos.recovery import RecoveryWatch
from tests.chaos.worker_pool import Slot, WorkerPool
from tests.servers.redis_and_postgres import PostgresServer, RedisServer

#: A few that take longer than anybody lives, many quick ones, and some that cost money.
_PROMPTS = ("a fox in the snow", "a lighthouse at dawn", "two owls", "a harbour")


@dataclass
class Scene:
    """The settings of one play; the same seed asks for the same things in the same order."""

    folder: Path
    seed: int = 1
    jobs: int = 200
    kills: int = 10
    database: str = "postgresql"
    is_apart: bool = False
    workers: dict[str, Any] = field(default_factory=lambda: dict(SHORT_LEASES))
    points: Mapping[str, list[KillPoint]] = field(default_factory=lambda: POINTS)
    faults: Sequence[str] = ("terminate", "freeze", "redis", "flush", "postgres")
    skew_s: float = 3600.0
    timeout_s: float = 300.0
    say: Callable[[str], None] = lambda _: None


@dataclass
class Ending:
    """What came of it."""

    audit: Audit
    pool: WorkerPool
    watch: RecoveryWatch
    seconds: float


def perform(scene: Scene) -> Ending:
    """Play it to its end. Blocks for a minute or more."""
    began_s = time.monotonic()
    with ExitStack() as stack:
        redis_server = stack.enter_context(RedisServer())
        postgres = None
        if scene.database == "postgresql":
            postgres = stack.enter_context(PostgresServer())
        environment = stack.enter_context(_environment(scene, redis_server, postgres))
        watch = RecoveryWatch(environment.imagen().ledger)
        pool = WorkerPool(
            environment,
            _slots(scene),
            watch,
            random.Random(scene.seed),
            redis_server=redis_server,
            postgres_server=postgres,
            say=scene.say,
            points=scene.points,
            is_apart=scene.is_apart,
        )
        watch.start()
        stack.callback(watch.stop)
        pool.begin()
        QueueFiller(environment, scene, pool.dice).feed()
        _go_through(scene, pool)
        pool.calm_down()
        scene.say("no more harm; waiting for the rest")
        _finish(scene, pool)
        assert all(status == 0 for status in pool.end()), "a worker did not stop cleanly"
        sweep_once(environment)
        found = audit(environment, calls_log=scene.folder / "calls.log")
        return Ending(found, pool, watch, time.monotonic() - began_s)


@dataclass
class QueueFiller:
    """Adds jobs while there is something to be interrupted for."""

    environment: Environment
    scene: Scene
    dice: random.Random
    added: int = 0

    def feed(self) -> None:
        """Add a wave of jobs, some of each kind."""
        number = max(10, self.scene.jobs // 4)
        for backend, share in (("quick", 0.45), ("paid", 0.45), ("slow", 0.06), ("shaky", 0.04)):
            prompts = [self.dice.choice(_PROMPTS) for _ in range(max(1, round(number * share)))]
            # A SQLite ledger keeps large images as files.
            size = "640x640" if backend == "slow" else "64x64"
            self.environment.submit(prompts, backend=backend, size=size)
            self.added += len(prompts)


def _environment(
    scene: Scene, redis_server: RedisServer, postgres: PostgresServer | None
) -> Environment:
    calls = scene.folder / "calls.log"
    return Environment(
        scene.folder,
        redis_server.url,
        postgres.create_database() if postgres else "",
        workers={"max_crashes": 100, "concurrency": {"cloud": 4}} | scene.workers,
        backends={
            "quick": {"type": "mock", "latency_ms": 40},
            "slow": {"type": "mock", "latency_ms": 1500},
            "paid": {
                **{"type": "mock", "queue": "cloud", "latency_ms": 60},
                **{"cost_usd": 0.003, "calls_log": str(calls)},
            },
            "shaky": {
                **{"type": "mock", "latency_ms": 20},
                **{"fail_first": 2, "state_dir": str(scene.folder / "tries")},
            },
        },
    )


def _slots(scene: Scene) -> list[Slot]:
    """Two of each role; some of their clocks are wrong."""
    return [
        Slot("gpu"),
        Slot("cloud"),
        Slot("results"),
        Slot("gpu", skew_s=scene.skew_s, doomed=True),
        Slot("cloud", skew_s=-scene.skew_s, doomed=True),
        Slot("results", doomed=True),
    ]


def _go_through(scene: Scene, pool: WorkerPool) -> None:
    """Everything that was asked for, in an order that the seed decides."""
    feeder = QueueFiller(pool.environment, scene, pool.dice)
    acts = ["kill"] * scene.kills + list(scene.faults)
    if scene.database != "postgresql":
        acts = [act for act in acts if act != "postgres"]
    pool.dice.shuffle(acts)
    deadline_s = time.monotonic() + scene.timeout_s
    while acts or pool.points_left:
        assert time.monotonic() < deadline_s, f"still to come: {acts}, {pool.left()}"
        if _unfinished(pool.environment) < scene.jobs // 4:
            feeder.feed()
        if acts:
            _act(pool, acts.pop(), scene)
        else:
            pool.make_way()
        pool.wait(pool.dice.uniform(*pool.pause_s))


def _act(pool: WorkerPool, act: str, scene: Scene) -> None:
    match act:
        case "kill":
            pool.kill_one()
        case "terminate":
            pool.terminate_one()
        case "freeze":
            pool.freeze_one(for_s=scene.workers["lease_s"] * 1.5)
        case "redis":
            pool.restart_redis()
        case "flush":
            pool.flush_redis()
        case "postgres":
            pool.restart_postgres()


def _unfinished(environment: Environment) -> int:
    try:
        states = count_states(environment.imagen().ledger, EVERYTHING)
    except ImagenError:
        return 0
    return sum(number for state, number in states.items() if not JobState(state).is_terminal)


def _finish(scene: Scene, pool: WorkerPool) -> None:
    environment = pool.environment
    deadline_s = time.monotonic() + scene.timeout_s
    while has_unfinished(environment.imagen().ledger, EVERYTHING):
        assert time.monotonic() < deadline_s, (
            f"not finished: {count_states(environment.imagen().ledger, EVERYTHING)}"
        )
        pool.wait(0.1)
    wait_until(lambda: queue_lengths(environment) == 0, what="queues are empty")
