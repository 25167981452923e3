"""``python -m tests.chaos``: run scenarios in their long forms, and print what was found."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.outages import Outage, both_hosts_away, go_away_amid_jobs, one_host_away
from tests.chaos.prompt_file import prompt_file, read_prompts
from tests.chaos.purchase_faults import purchase_faults
from tests.chaos.random_faults import random_faults
from tests.chaos.report import report
from tests.chaos.scenario import Scenario, run_scenario
from tests.chaos.steady_faults import steady_faults
from tests.processes.environment import SHORT_LEASES
from tests.processes.kill_points import KILL_POINTS

#: The defaults of a worker.
_LONG_LEASES = {"lease_s": 30, "heartbeat_s": 10, "reconcile_s": 1, "grace_s": 10}

_SCENARIOS = ("anything", "kill-every-2s", "poison", "garbage", "money", "prompts", "outages")


def main() -> int:
    options = _options()
    began_s = time.monotonic()

    def say(text: str) -> None:
        if not options.quiet:
            print(f"{time.monotonic() - began_s:7.1f} s  {text}", flush=True)

    breaches = 0
    with tempfile.TemporaryDirectory(prefix="imagen-chaos-") as temporary:
        root = options.keep or Path(temporary)
        if options.scenario == "outages":
            _run_outages(root, say)
            return 0
        for number in range(options.rounds or 1_000_000):
            if number and options.minutes and time.monotonic() - began_s > options.minutes * 60:
                break
            folder = root / str(number)
            scenario = _scenario(options, folder, seed=options.seed + number, say=say)
            breaches += report(options.scenario, scenario, run_scenario(scenario))
    return 1 if breaches else 0


def _scenario(options: argparse.Namespace, folder: Path, **settings: Any) -> Scenario:
    if options.scenario == "money":
        return purchase_faults(
            folder,
            jobs=(options.jobs or 200) - options.equal_jobs,
            equal_jobs=options.equal_jobs,
            kills=8 if options.kills is None else options.kills,
            freezes=options.freezes,
            **settings,
        )
    settings["database"] = options.database
    jobs = options.jobs or 300
    match options.scenario:
        case "prompts":
            prompts = read_prompts(options.prompts)[: options.limit or None]
            return prompt_file(folder, prompts, **settings)
        case "kill-every-2s":
            return steady_faults(folder, jobs=jobs, **settings)
        case "poison":
            return steady_faults(folder, jobs=jobs, kill_every_s=0, crashing_jobs=2, **settings)
        case "garbage":
            quick = {"job_s": 0.2, "kill_every_s": 0, "garbage_every_s": 0.05}
            return steady_faults(folder, jobs=jobs, **quick, **settings)
    return random_faults(
        folder,
        jobs=jobs,
        kills=40 if options.kills is None else options.kills,
        kill_points={} if options.no_points else KILL_POINTS,
        workers=SHORT_LEASES if options.short else _LONG_LEASES,
        has_own_hosts=options.apart,
        timeout_s=1200,
        **settings,
    )


def _run_outages(folder: Path, say: Callable[[str], None]) -> None:
    for name, outage in {
        "away for 60 s": Outage(folder / "1", say=say),
        "away for 10 min, ten times as fast": Outage(folder / "2", away_s=600, scale=10, say=say),
        "worker first, server 60 s later": Outage(folder / "3", server_later=True, say=say),
    }.items():
        say(f"{name}: {go_away_amid_jobs(outage)}")
    healthy = Outage(folder / "4", jobs=150, draw_s=0.2, say=say)
    say(f"one host of two away: {one_host_away(healthy)}")
    both = Outage(folder / "5", database="postgresql", say=say)
    say(f"both away, traffic a second: {both_hosts_away(both)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--scenario",
        choices=_SCENARIOS,
        default="anything",
        help="one kind of fault, instead of every kind at random [anything]",
    )
    parser.add_argument("--jobs", type=int, help="at least so many [300; money: 200]")
    parser.add_argument("--kills", type=int, help="at random times [40; money: 8]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=0, help="so many; 1 without --minutes")
    parser.add_argument("--minutes", type=float, default=0, help="round after round for so long")
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--keep", type=Path, help="a folder for logs, files and settings")
    parser.add_argument("--quiet", action="store_true", help="only the figures")
    anything = parser.add_argument_group("anything")
    anything.add_argument("--short", action="store_true", help="leases of 3 s instead of 30 s")
    anything.add_argument("--apart", action="store_true", help="each drawing process on its host")
    anything.add_argument("--no-points", action="store_true", help="only kills at random times")
    money = parser.add_argument_group("money")
    money.add_argument("--equal-jobs", type=int, default=20, help="with the same input [20]")
    money.add_argument("--freezes", type=int, default=6, help="SIGSTOPs of cloud workers [6]")
    prompts = parser.add_argument_group("prompts")
    prompts.add_argument("--prompts", type=Path, metavar="FILE", help="draw FILE's first column")
    prompts.add_argument("--limit", type=int, default=0, help="only so many lines of FILE")
    options = parser.parse_args()
    if options.prompts:
        options.scenario = "prompts"
    elif options.scenario == "prompts":
        parser.error("--scenario prompts needs --prompts FILE")
    if not options.rounds and not options.minutes:
        options.rounds = 1
    return options


if __name__ == "__main__":
    raise SystemExit(main())
