"""Accepting many lines: how fast, and in how much memory."""

from __future__ import annotations

from benchmarks.bench import DATABASES, Bench
from benchmarks.children import Ran, imagen, python, run, take_turns
from benchmarks.progress import count_jobs
from benchmarks.rows import Aim, Row
from imagen.wiring.parts import opened_ledger

_FEW, _MANY = 10_000, 100_000
_MEGABYTE = 1_000_000
#: What `imagen batch` ends with when it gave up waiting for the workers, of which there are none.
_GAVE_UP = 6


def measure(bench: Bench) -> list[Row]:
    """`imagen batch` over the queue, next to a bare apply_async loop of as many messages."""
    divisor = 10 if bench.quick else 1
    few, many = _FEW // divisor, _MANY // divisor
    contenders = {"bare": lambda: _bare(bench, few)} | {
        database: lambda database=database: _enqueue(bench, database, few) for database in DATABASES
    }
    taken = take_turns(1 if bench.quick else 3, contenders, warm_up=False)
    baseline = Row(f"bare apply_async, {few:,}", _rates(taken["bare"], few), "rows/s")
    rows = [baseline]
    for database in DATABASES:
        rates, at_least = _rates(taken[database], few), Aim.at_least(1, of_ratio=True)
        rows.append(Row(f"imagen batch, {few:,}, {database}", rates, "rows/s", baseline, at_least))
        all_of_them = _enqueue(bench, database, many)
        rates = _rates([all_of_them], many)
        rows.append(Row(f"imagen batch, {many:,}, {database}", rates, "rows/s", baseline))
        rows += _memory(database, {few: taken[database], many: [all_of_them]})
    return rows


def _memory(database: str, taken: dict[int, list[Ran]]) -> list[Row]:
    few, many = (
        Row(f"  peak memory, {number:,}, {database}", _peaks(ran), "MB")
        for number, ran in taken.items()
    )
    return [few, Row(many.what, many.samples, "MB", few, Aim.at_most(200))]


def _bare(bench: Bench, number: int) -> Ran:
    home = bench.home("SQLite", broker=True)
    return run(python("-m", "benchmarks.bare.publish", home.broker_url, str(number)), home)


def _enqueue(bench: Bench, database: str, number: int) -> Ran:
    home = bench.home(database, broker=True)
    command = imagen("batch", bench.prompts(number), "--backend", "mock", "--size", "64x64")
    ran = run([*command, "--timeout", "0.001"], home, expect=[_GAVE_UP])
    with opened_ledger(home.process) as ledger:
        accepted = count_jobs(ledger)
    if accepted != number:
        raise RuntimeError(f"{accepted} rows of {number} were accepted on {database}")
    return ran


def _rates(taken: list[Ran], number: int) -> list[float]:
    """Rows a second of the whole command, its start included."""
    return [number / ran.seconds for ran in taken]


def _peaks(taken: list[Ran]) -> list[float]:
    return [ran.peak_bytes / _MEGABYTE for ran in taken]
