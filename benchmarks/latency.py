"""How long one job takes when nothing else is going on: from its commit to its file."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.bare.chain import make_app, send
from benchmarks.bench import DATABASES, Bench, Opened, wait_until
from benchmarks.children import take_turns
from benchmarks.pipeline import GPU_THREADS, RESULTS_THREADS
from benchmarks.progress import is_done
from benchmarks.rows import Aim, Row
from benchmarks.submission import submit_one, wake
from benchmarks.worker_processes import bare_worker, imagen_worker
from imagen.domain.protocols import Publisher
from imagen.wiring.queue_parts import make_queue_publisher

_JOBS = 200
#: Looking costs processor time that the workers need, not looking costs precision.
_LOOK_EVERY_S = 0.0003
#: For the processes that have just finished to become idle.
_REST_S = 0.02


def measure(bench: Bench) -> list[Row]:
    """The median and the 99th percentile, all contenders in turns, one job at a time."""
    jobs = 20 if bench.quick else _JOBS
    with ExitStack() as stack:
        contenders = {"bare": _bare(bench, stack)}
        for database in DATABASES:
            contenders[database] = _imagen(bench, stack, database)
        taken = take_turns(jobs, contenders)
    aim = Aim.at_most(6, of_ratio=True)
    rows = []
    for name, rank in (("p50", 0.5), ("p99", 0.99)):
        baseline = Row(f"bare chain to a touched file, {name}", [_rank(taken["bare"], rank)], "ms")
        rows.append(baseline)
        for database in DATABASES:
            what = f"commit to file, {database}, {name}"
            rows.append(Row(what, [_rank(taken[database], rank)], "ms", baseline, aim))
    return rows


def _bare(bench: Bench, stack: ExitStack) -> Callable[[], float]:
    home = bench.home("SQLite", broker=True)
    home.output.mkdir()
    app = make_app(home.broker_url)
    stack.enter_context(bare_worker(home, "deliver", threads=RESULTS_THREADS))
    stack.enter_context(bare_worker(home, "draw", threads=GPU_THREADS))
    numbers = iter(range(1_000_000))

    def one() -> float:
        path = home.output / f"{next(numbers)}.png"
        began_s = time.perf_counter()
        send(app, path=str(path))
        return _until_there(path, began_s)

    return one


def _imagen(bench: Bench, stack: ExitStack, database: str) -> Callable[[], float]:
    home = bench.home(database, broker=True)
    opened = stack.enter_context(home.opened())
    publisher = make_queue_publisher(opened.process, opened.ledger)
    stack.enter_context(imagen_worker(home, "results"))
    stack.enter_context(imagen_worker(home, "gpu"))
    numbers = iter(range(1_000_000))

    def one() -> float:
        return _one(opened, publisher, home.output / f"{next(numbers)}.png")

    return one


def _one(opened: Opened, publisher: Publisher, path: Path) -> float:
    draft = submit_one(opened, path)
    began_s = time.perf_counter()
    wake(publisher, draft)
    taken_ms = _until_there(path, began_s)
    wait_until(lambda: is_done(opened.ledger, draft.id), what=f"job {draft.id}")
    return taken_ms


def _until_there(path: Path, began_s: float) -> float:
    """Milliseconds from ``began_s`` until the file is there."""
    while not path.exists():
        if time.perf_counter() - began_s > 60:
            raise TimeoutError(f"{path.name} was not written within a minute")
        time.sleep(_LOOK_EVERY_S)
    taken_s = time.perf_counter() - began_s
    time.sleep(_REST_S)
    return taken_s * 1000


def _rank(samples: list[float], rank: float) -> float:
    """The sample that so large a part of all is below."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(rank * len(ordered)))]
