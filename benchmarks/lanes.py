"""How long one interactive image takes while a large batch is being drawn."""

from __future__ import annotations

from benchmarks.bench import DATABASES, Bench, wait_until
from benchmarks.progress import count_unfinished, is_done, waited_s
from benchmarks.rows import Aim, Row
from benchmarks.submission import submit_batch, submit_one, wake, wake_all
from benchmarks.worker_processes import imagen_worker
from imagen.wiring.queue_parts import make_queue_publisher

_BULK = 1_000
_LATENCY_MS = 100


def measure(bench: Bench) -> list[Row]:
    """Seconds until an interactive job runs that was submitted behind a thousand others."""
    # The next one may start when either of two threads is free: at most one drawing away.
    drawing = Row("one drawing", [_LATENCY_MS], "ms")
    rows = [drawing]
    for database in DATABASES:
        waits = _waits(bench, database, 3 if bench.quick else 15)
        what = f"interactive before {_BULK:,} bulk jobs, {database}"
        rows.append(Row(what, waits, "ms", drawing, Aim.at_most(1.2, of_ratio=True)))
    return rows


def _waits(bench: Bench, database: str, times: int) -> list[float]:
    home = bench.home(database, broker=True, latency_ms=_LATENCY_MS)
    found = []
    with home.opened() as opened:
        ledger, publisher = opened.ledger, make_queue_publisher(opened.process, opened.ledger)
        submit_batch(opened, bench.prompts(_BULK))
        wake_all(opened)
        with imagen_worker(home, "results"), imagen_worker(home, "gpu"):
            wait_until(lambda: count_unfinished(ledger) < _BULK, what="the first bulk job")
            for _ in range(times):
                draft = submit_one(opened)
                wake(publisher, draft)
                wait_until(
                    lambda job_id=draft.id: is_done(ledger, job_id), what="an interactive job"
                )
                found.append(waited_s(ledger, draft.id) * 1000)
            if not count_unfinished(ledger):
                raise RuntimeError("the bulk jobs were through before the interactive ones")
    return found
