"""Whole commands, from the shell's point of view: start, work, exit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from sqlalchemy import update

from benchmarks.bench import DATABASES, Bench, Home
from benchmarks.children import Command, Ran, imagen, python, run, take_turns
from benchmarks.rows import Aim, Row
from benchmarks.submission import submit_batch
from imagen.domain.job import JobState
from imagen.ledger.store.tables import jobs

_FINISHED_ROWS = 10_000

_PROMPT = "a lighthouse at dawn"
_GENERATE = ("generate", _PROMPT, "--backend", "mock", "--size", "64x64")
_GENERATE_BY_COMFYUI = ("generate", _PROMPT, "--backend", "flux-schnell-local")


@dataclass(frozen=True)
class _Measured:
    """A command that was run several times."""

    what: str
    taken: list[Ran]

    def row(self, baseline: _Measured | None = None, aim: Aim | None = None) -> Row:
        """Wall clock, and in the note processor time, which other programs disturb less."""
        note = f"processor {self.cpu_ms:.0f} ms"
        if baseline is None:
            return Row(self.what, self.wall_ms, "ms", aim=aim, note=note)
        note = f"{baseline.what}; {note}, {self.cpu_ms / baseline.cpu_ms:.2f}x"
        return Row(self.what, self.wall_ms, "ms", baseline.row(), aim, note)

    @property
    def wall_ms(self) -> list[float]:
        return [ran.seconds * 1000 for ran in self.taken]

    @property
    def cpu_ms(self) -> float:
        return median(ran.cpu_s for ran in self.taken) * 1000


def measure(bench: Bench) -> list[Row]:
    """`imagen --help`, `generate` and `batch` next to a Python that does nothing."""
    rounds = 3 if bench.quick else 15
    home = bench.home("SQLite")
    finished, batch = _finished_batch(bench)
    commands = {
        "python -c pass": (home, python("-c", "pass"), None),
        "imagen --help": (home, imagen("--help"), Aim.at_most(6, of_ratio=True)),
        "imagen generate, 64x64, embedded": (home, imagen(*_GENERATE), Aim.at_most(800)),
        f"imagen batch, {_lines(bench):,} finished rows": (finished, batch, Aim.at_most(3_000)),
    }
    measured = _take_turns(rounds, {what: each[:2] for what, each in commands.items()})
    if finished.output.exists():
        raise RuntimeError("rows of the finished batch were drawn again")
    nothing, *others = measured
    rows = [nothing.row(), *(each.row(nothing, commands[each.what][2]) for each in others)]
    for database in DATABASES:
        rows += _submit(bench, database, rounds)
    return rows


def _submit(bench: Bench, database: str, rounds: int) -> list[Row]:
    """A job over the queue, without waiting for it, next to the least that could accept one."""
    home = bench.home(database, broker=True)
    database_url = home.database_url or f"sqlite:///{home.folder / 'bare.db'}"
    database_url = database_url.replace("postgresql://", "postgresql+psycopg://")
    bare = python("-m", "benchmarks.bare.submit", database_url, home.broker_url, "a red fox")
    run([*bare, "--make-table"], home)
    least, ours, usual = _take_turns(
        rounds,
        {
            f"bare script submits, {database}": (home, bare),
            f"imagen generate over the queue, {database}": (home, imagen(*_GENERATE)),
            f"the same for the default backend, {database}": (home, imagen(*_GENERATE_BY_COMFYUI)),
        },
    )
    aim = Aim.at_most(1.5, of_ratio=True)
    return [least.row(), ours.row(least, aim), usual.row(least, aim)]


def _take_turns(rounds: int, commands: dict[str, tuple[Home, Command]]) -> list[_Measured]:
    contenders = {
        what: lambda home=home, command=command: run(command, home)
        for what, (home, command) in commands.items()
    }
    return [_Measured(what, taken) for what, taken in take_turns(rounds, contenders).items()]


def _finished_batch(bench: Bench) -> tuple[Home, Command]:
    """A home with a batch that is through, and the command that finds nothing to do there."""
    home = bench.home("SQLite")
    prompts = bench.prompts(_lines(bench))
    _finish_batch(home, prompts)
    same = ("--name", "bench", "--backend", "mock", "--size", "64x64")
    return home, imagen("batch", prompts, *same)


def _lines(bench: Bench) -> int:
    return _FINISHED_ROWS // (10 if bench.quick else 1)


def _finish_batch(home: Home, prompts: Path) -> None:
    """Accept the batch as the command does, and say of every row that it succeeded."""
    with home.opened() as opened:
        submit_batch(opened, prompts, key="name:bench")
        with opened.ledger.write() as connection:
            connection.execute(update(jobs).values(state=JobState.SUCCEEDED.value))
