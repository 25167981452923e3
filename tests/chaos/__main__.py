"""``python -m tests.chaos``: the long form, with figures."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.chaos.audit import Audit
from tests.chaos.environment import SHORT_LEASES
from tests.chaos.kill_points import POINTS
from tests.chaos.prompt_file import Drawn, draw_file, read_prompts
from tests.chaos.random_faults import Ending, Scene, perform
from tests.chaos.recovery import RecoveredJob, percentile
from tests.chaos.steady_faults import Harm, Harmed, draw_under_harm

#: What a worker has when nothing is configured.
_USUAL = {"lease_s": 30, "heartbeat_s": 10, "reconcile_s": 1, "grace_s": 10}


_HARMS: dict[str, Callable[[argparse.Namespace], Harm]] = {
    "kill-every-2s": lambda options: Harm(
        options.jobs, database=options.database, seed=options.seed
    ),
    "poison": lambda options: Harm(
        options.jobs, kill_every_s=0, poison=2, database=options.database, seed=options.seed
    ),
    "garbage": lambda options: Harm(
        *(options.jobs, 0.2, 0, 0.05), database=options.database, seed=options.seed
    ),
}


def main() -> int:
    options = _options()
    began_s = time.monotonic()

    def say(text: str) -> None:
        if not options.quiet:
            print(f"{time.monotonic() - began_s:7.1f} s  {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="imagen-chaos-") as folder:
        if options.prompts:
            prompts = read_prompts(options.prompts)[: options.limit or None]
            return _report_drawn(
                draw_file(
                    prompts,
                    folder=Path(folder),
                    seed=options.seed,
                    database=options.database,
                    say=say,
                )
            )
        if options.scenario != "anything":
            return _report_harmed(
                draw_under_harm(_HARMS[options.scenario](options), folder=Path(folder), say=say)
            )
        bad = 0
        for number in range(options.rounds or 1_000_000):
            if number and options.minutes and time.monotonic() - began_s > options.minutes * 60:
                break
            scene = Scene(
                Path(folder, str(number)),
                seed=options.seed + number,
                jobs=options.jobs,
                kills=options.kills,
                database=options.database,
                is_apart=options.apart,
                workers=dict(SHORT_LEASES if options.short else _USUAL),
                points={} if options.no_points else POINTS,
                timeout_s=1200,
                say=say,
            )
            bad += _report(scene, perform(scene))
        return 1 if bad else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=300, help="at least so many [300]")
    parser.add_argument("--kills", type=int, default=40, help="from outside, at random [40]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=0, help="so many plays; 1 without --minutes")
    parser.add_argument("--minutes", type=float, default=0, help="play after play for so long")
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument(
        "--scenario",
        choices=("anything", *_HARMS),
        default="anything",
        help="one kind of harm instead of every kind at random",
    )
    parser.add_argument("--short", action="store_true", help="leases of 3 s instead of 30 s")
    parser.add_argument("--apart", action="store_true", help="each drawing process on its own host")
    parser.add_argument("--no-points", action="store_true", help="only kills from outside")
    parser.add_argument("--quiet", action="store_true", help="only the figures")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="draw FILE's first column")
    parser.add_argument("--limit", type=int, default=0, help="only so many lines of FILE")
    options = parser.parse_args()
    if not options.rounds and not options.minutes:
        options.rounds = 1
    return options


def _report(scene: Scene, ending: Ending) -> int:
    """Print the figures; how many breaches there were is what you get."""
    found, pool = ending.audit, ending.pool
    print(f"\nseed {scene.seed}, {scene.database}, {ending.seconds:.0f} s")
    print(f"  jobs {found.jobs}, images {found.images}, sidecars {found.sidecars}")
    print(f"  paid calls {found.calls}, attempts {_counts(found.attempts)}")
    print(f"  done to it: {_counts(pool.counts)}")
    print(f"  places died at: {len(set(pool.died_at))}")
    print(f"  crashes counted {found.crashes}, messages left that wake nobody for anything:")
    print(f"    {found.unacked} fetched by the dead, {found.stale_messages} in queues")
    _print_recoveries(ending.watch.recovered)
    return _print_breaches(found)


def _report_drawn(drawn: Drawn) -> int:
    found = drawn.audit
    print(f"\nprompts {drawn.prompts}, jobs {found.jobs}, {drawn.seconds:.0f} s")
    print(f"  images {found.images}, sidecars {found.sidecars}, doubles {drawn.doubles}")
    print(f"  done to it: {_counts(drawn.kills)}; crashes counted {found.crashes}")
    _print_recoveries(drawn.recovered)
    return _print_breaches(found)


def _report_harmed(harmed: Harmed) -> int:
    found = harmed.audit
    print(f"\njobs {found.jobs}, {harmed.seconds:.0f} s; done to it: {_counts(harmed.kills)}")
    print(
        f"  crashes counted {found.crashes}; healthy jobs that failed for them: {harmed.crashed};"
        f" that ran alone: {harmed.isolated}"
    )
    print(
        f"  jobs that kill their workers: {_counts(harmed.poison_states)} {harmed.poison_crashes}"
    )
    _print_recoveries(harmed.recovered)
    if harmed.poison_states:
        return 1 if harmed.crashed else 0
    return _print_breaches(found)


def _print_recoveries(recovered: list[RecoveredJob]) -> None:
    for state, what in (("running", "drawn"), ("generated", "delivered")):
        seconds = [each.seconds for each in recovered if each.state == state]
        print(
            f"  interrupted while {what}: {len(seconds)}, held again after"
            f" p50 {percentile(seconds, 0.5):.2f} s, p95 {percentile(seconds, 0.95):.2f} s,"
            f" at most {max(seconds, default=float('nan')):.2f} s"
        )


def _print_breaches(found: Audit) -> int:
    for breach in found.breaches:
        print(f"  BREACH: {breach}")
    print(f"  {'nothing lost, doubled or left behind' if not found.breaches else 'NOT GOOD'}")
    return 1 if found.breaches else 0


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{what} {number}" for what, number in sorted(counts.items()))


if __name__ == "__main__":
    raise SystemExit(main())
