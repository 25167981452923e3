"""How long somebody waits who wants one image while a large batch is being drawn."""

from __future__ import annotations

from benchmarks.bench import DATABASES, Bench, wait_until
from benchmarks.crews import imagen_worker
from benchmarks.progress import count_unfinished, is_done, waited_s
from benchmarks.rows import Aim, Row
from benchmarks.submission import submit_batch, submit_one, wake, wake_all

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
    imagen = home.open()
    submit_batch(imagen, bench.prompts(_BULK))
    wake_all(imagen)
    found = []
    with imagen_worker(home, "results"), imagen_worker(home, "gpu"):
        wait_until(lambda: count_unfinished(imagen) < _BULK, what="the first bulk job")
        for _ in range(times):
            draft = submit_one(imagen)
            wake(imagen, draft)
            wait_until(lambda job_id=draft.id: is_done(imagen, job_id), what="an interactive job")
            found.append(waited_s(imagen, draft.id) * 1000)
        if not count_unfinished(imagen):
            raise RuntimeError("the bulk jobs were through before the interactive ones")
    imagen.close()
    return found
