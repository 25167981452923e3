"""Runs whole commands and measures them: wall clock, processor time, peak memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench import REPOSITORY, Home

Command = Sequence[str | Path]

# Between us and the command stands a small process: Linux keeps a program's peak memory over
# exec, so a child of ours would be said to have used at least what we do.
_MEASURE = """
import json, resource, subprocess, sys, time
report, command = sys.argv[1], sys.argv[2:]
began = time.perf_counter()
code = subprocess.call(command, stdin=subprocess.DEVNULL)
seconds = time.perf_counter() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
unit = 1 if sys.platform == "darwin" else 1024
json.dump([code, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * unit], open(report, "w"))
"""


@dataclass(frozen=True)
class Ran:
    """A command that ended."""

    code: int
    seconds: float
    cpu_s: float
    peak_bytes: int
    output: str


def run(command: Command, home: Home, *, expect: Sequence[int] = (0,)) -> Ran:
    """Run a command as the user of ``home``.

    Raises:
        RuntimeError: it ended with none of the expected codes; what it said is in the message.
    """
    report = home.folder / "measured.json"
    done = subprocess.run(
        [sys.executable, "-S", "-c", _MEASURE, str(report), *map(str, command)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=home.env,
        cwd=REPOSITORY,
    )
    ran = Ran(*json.loads(report.read_text()), output=done.stdout)
    if ran.code not in expect:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {ran.code}:\n{done.stdout}")
    return ran


def imagen(*arguments: str | Path) -> Command:
    """The installed command, as a user types it."""
    return [Path(sys.executable).parent / "imagen", *arguments]


def python(*arguments: str | Path) -> Command:
    return [sys.executable, *arguments]


def take_turns(
    rounds: int, contenders: Mapping[str, Callable[[], Any]], *, warm_up: bool = True
) -> dict[str, list[Any]]:
    """What each contender returned, round by round; all of them run once in every round."""
    if warm_up:
        for contend in contenders.values():
            contend()
    found: dict[str, list[Any]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contend in contenders.items():
            found[name].append(contend())
    return found
