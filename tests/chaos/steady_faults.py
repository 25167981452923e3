"""One kind of fault that goes on while jobs are drawn: kills, jobs that crash, broken messages."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import Row

from imagen.queue.broker.routing import queue_key
from tests.chaos.scenario import Scenario, ScenarioRun
from tests.chaos.worker_pool import Slot

_CRASHING = "poison"
_GARBAGE = (b"garbage", b"{}", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"headers": {"task": null}}')


def steady_faults(
    folder: Path,
    *,
    jobs: int = 300,
    job_s: float = 3.0,
    kill_every_s: float = 2.0,
    garbage_every_s: float = 0.0,
    crashing_jobs: int = 0,
    **settings: Any,
) -> Scenario:
    """Two gpu and two cloud workers (6 and 12 jobs at once) draw while it happens.

    0 seconds are "never"; ``crashing_jobs`` are added, each of which kills its worker each time.
    """
    faults = _SteadyFaults(jobs, kill_every_s, garbage_every_s, crashing_jobs)
    calls_log = folder / "calls.log"
    local = {
        "type": "mock",
        "latency_ms": round(job_s * 1000),
        "crash_if_contains": _CRASHING,
    }
    paid = {**local, "queue": "cloud", "cost_usd": 0.003, "calls_log": str(calls_log)}
    return Scenario(
        folder,
        backends={"local": local, "paid": paid},
        slots=[Slot("gpu"), Slot("gpu"), Slot("cloud"), Slot("cloud"), Slot("results")],
        submit=faults.submit,
        inject=faults.inject,
        workers={"concurrency": {"gpu": 6, "cloud": 12}},
        calls_log=calls_log,
        **{"timeout_s": 600.0, **settings},
    )


@dataclass(frozen=True)
class _SteadyFaults:
    jobs: int
    kill_every_s: float
    garbage_every_s: float
    crashing_jobs: int

    def submit(self, run: ScenarioRun) -> None:
        submit, half = run.environment.submit, self.jobs // 2
        submit([f"{_CRASHING} {number}" for number in range(self.crashing_jobs)], backend="local")
        submit([f"a fox {number}" for number in range(half)], backend="local")
        submit([f"an owl {number}" for number in range(self.jobs - half)], backend="paid")

    def inject(self, run: ScenarioRun) -> None:
        """Go on until every job has ended."""
        check = run.deadline()
        garbage_s = time.monotonic()
        kill_s = garbage_s + self.kill_every_s
        while run.environment.count_ended() < run.environment.submitted:
            check()
            now_s = time.monotonic()
            if self.kill_every_s and now_s >= kill_s:
                kill_s += self.kill_every_s
                run.pool.kill(run.pool.pick(run.random.choice(["gpu", "cloud"])))
            if self.garbage_every_s and now_s >= garbage_s:
                garbage_s += self.garbage_every_s
                _put_garbage(run)
            run.pool.wait(0.1)


def _put_garbage(run: ScenarioRun) -> None:
    with redis.Redis.from_url(run.environment.redis_url) as client:
        for queue in ("gpu", "cloud"):
            client.lpush(queue_key(queue), run.random.choice(_GARBAGE), os.urandom(20))
    run.pool.counts["garbage"] += 4


@dataclass(frozen=True)
class CrashCounts:
    """How crashes were counted: of the jobs that crash their worker, and of all others."""

    #: Other jobs that failed because they had crashed too often.
    failed_others: int
    #: Other jobs that were made to run alone.
    isolated_others: int
    #: Of the jobs that crash: how often each did, and how they ended.
    crashes: list[int]
    ends: Counter[str]


def count_crashes(jobs: Sequence[Row[Any]]) -> CrashCounts:
    """Read them from the table of jobs."""
    crashing = [row for row in jobs if _CRASHING in row.request["user_prompt"]]
    others = [row for row in jobs if _CRASHING not in row.request["user_prompt"]]
    return CrashCounts(
        sum(row.error_code == "worker_crashed" and row.state == "failed" for row in others),
        sum(row.alone_since is not None for row in others),
        [row.crash_count for row in crashing],
        Counter(f"{row.state} {row.error_code}" for row in crashing),
    )
