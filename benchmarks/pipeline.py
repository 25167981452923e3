"""Jobs through real workers: from the queue to the file, next to a bare two-step Celery chain."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from benchmarks.bare.chain import BEGAN_KEY, ENDED_KEY, make_app, send
from benchmarks.bench import DATABASES, Bench, wait_until
from benchmarks.children import take_turns
from benchmarks.progress import busy_seconds, count_unfinished
from benchmarks.rows import Aim, Row
from benchmarks.submission import submit_batch, wake_all
from benchmarks.worker_processes import bare_worker, imagen_worker

_JOBS = 2_000
#: The thread pools of the workers, by default.
GPU_THREADS, RESULTS_THREADS = 2, 4

# The workers need the processors; who began and ended when is on record anyway.
_LOOK_EVERY_S = 0.25


@dataclass(frozen=True)
class _Through:
    """A run that is through: its pace, and the workers' processor time for each job."""

    per_second: float
    cpu_ms: float


def measure(bench: Bench) -> list[Row]:
    """Jobs a second, counted from the first claim to the last image that is on disk for good.

    Everything is queued before the drawing worker starts: the pace of the workers counts, not that
    of the submitting command.
    """
    jobs = _JOBS // (10 if bench.quick else 1)
    contenders = {"bare": lambda: _bare(bench, jobs)} | {
        database: lambda database=database: _imagen(bench, database, jobs) for database in DATABASES
    }
    taken = take_turns(1 if bench.quick else 3, contenders, warm_up=False)
    rates = {name: [each.per_second for each in through] for name, through in taken.items()}
    cpu_ms = {name: [each.cpu_ms for each in through] for name, through in taken.items()}
    pace = Row(f"bare two-step chain, {jobs:,} jobs", rates["bare"], "jobs/s")
    cost = Row("bare two-step chain, processor a job", cpu_ms["bare"], "ms")
    aim = Aim.at_least(0.5, of_ratio=True)
    rows = [pace, cost]
    for database in DATABASES:
        what = f"gpu and results worker, {database}"
        rows.append(Row(what, rates[database], "jobs/s", pace, aim))
        rows.append(Row(f"{what}, processor a job", cpu_ms[database], "ms", cost))
    return rows


def _bare(bench: Bench, jobs: int) -> _Through:
    home = bench.home("SQLite", broker=True)
    app = make_app(home.broker_url)
    client = redis.Redis.from_url(home.broker_url)
    with bare_worker(home, "deliver", threads=RESULTS_THREADS) as deliver:
        for _ in range(jobs):
            send(app, of=jobs)
        with bare_worker(home, "draw", threads=GPU_THREADS) as draw:
            wait_until(
                lambda: bool(client.exists(ENDED_KEY)), what="the bare chain", every_s=_LOOK_EVERY_S
            )
            cpu_s = draw.cpu_s + deliver.cpu_s
    began, ended = client.mget(BEGAN_KEY, ENDED_KEY)
    client.close()
    return _Through(jobs / (float(ended) - float(began)), cpu_s / jobs * 1000)


def _imagen(bench: Bench, database: str, jobs: int) -> _Through:
    home = bench.home(database, broker=True)
    with home.opened() as opened, imagen_worker(home, "results") as results:
        ledger = opened.ledger
        submit_batch(opened, bench.prompts(jobs))
        wake_all(opened)
        with imagen_worker(home, "gpu") as gpu:
            what = f"{jobs} jobs on {database}"
            wait_until(lambda: not count_unfinished(ledger), what=what, every_s=_LOOK_EVERY_S)
            cpu_s = gpu.cpu_s + results.cpu_s
        seconds = busy_seconds(ledger)
    written = sum(1 for _ in home.output.glob("*.png"))
    if written != jobs:
        raise RuntimeError(f"{written} images of {jobs} jobs on {database}")
    return _Through(jobs / seconds, cpu_s / jobs * 1000)
