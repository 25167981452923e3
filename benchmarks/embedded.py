"""Jobs through the embedded executor: threads of one process, no broker."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.bare.draw import draw_all
from benchmarks.bench import DATABASES, Bench
from benchmarks.children import take_turns
from benchmarks.rows import Aim, Row
from benchmarks.stopwatch import Stopwatch, watching
from benchmarks.submission import submit_batch
from imagen.wiring.executors import local_executor
from imagen.wiring.parts import held_lock

_JOBS = 2_000


@dataclass(frozen=True)
class _Through:
    jobs: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.jobs / self.seconds


def measure(bench: Bench) -> list[Row]:
    """Jobs a second on each database, and where the time of one job goes."""
    jobs = _JOBS // (10 if bench.quick else 1)
    contenders = {"bare": lambda: _bare(bench, jobs)} | {
        database: lambda database=database: _through(bench, database, jobs)
        for database in DATABASES
    }
    taken = take_turns(1 if bench.quick else 3, contenders, warm_up=False)
    baseline = Row(
        "bare loop: draw, write, sync", [each.per_second for each in taken["bare"]], "jobs/s"
    )
    rows = [baseline]
    for database in DATABASES:
        rates = [each.per_second for each in taken[database]]
        aim = Aim.at_least(200) if database == "SQLite" else None
        rows.append(Row(f"{jobs:,} jobs, {database}", rates, "jobs/s", baseline, aim))
    for database in DATABASES:
        rows += _profile(bench, database, jobs)
    return rows


def _bare(bench: Bench, jobs: int) -> _Through:
    home = bench.home("SQLite")
    home.output.mkdir()
    began_s = time.perf_counter()
    draw_all(home.output, jobs)
    return _Through(jobs, time.perf_counter() - began_s)


def _through(bench: Bench, database: str, jobs: int) -> _Through:
    """Accept first, then draw and deliver: only the second is timed."""
    home = bench.home(database)
    with home.opened() as opened:
        process, ledger = opened.process, opened.ledger
        scope = submit_batch(opened, bench.prompts(jobs))
        with (
            held_lock(process, outbox=ledger) as lock,
            local_executor(process, ledger, opened.registry, lock) as executor,
        ):
            began_s = time.perf_counter()
            if not executor.run(scope):
                raise RuntimeError(f"not every job is through on {database}")
            seconds = time.perf_counter() - began_s
    written = sum(1 for _ in home.output.glob("*.png"))
    if written != jobs:
        raise RuntimeError(f"{written} images of {jobs} jobs on {database}")
    return _Through(jobs, seconds)


def _profile(bench: Bench, database: str, jobs: int) -> list[Row]:
    """Wall clock and processor time of each step, a job; measured apart, for timing costs time."""
    stopwatch = Stopwatch()
    with watching(stopwatch):
        through = _through(bench, database, jobs)
    whole = Row(f"one job, {database}", [through.seconds / jobs * 1000], "ms")
    rows = [whole]
    for step, lap in stopwatch.laps.items():
        note = f"the whole; {lap.cpu_s / jobs * 1000:.2f} ms of it processor, {lap.calls:,} calls"
        rows.append(Row(f"  {step}", [lap.wall_s / jobs * 1000], "ms", whole, note=note))
    for missing in stopwatch.missing:
        rows.append(Row(f"  {missing}", [0.0], "ms", note="is no longer there to be measured"))
    return rows
