"""``python -m tests.chaos.money``: 200 paid jobs with everything going wrong, and the bill."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.chaos.money.play import Ending, Scene, perform


def main() -> int:
    options = _options()
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began_s:7.1f} s  {text}", flush=True)

    bad = 0
    with tempfile.TemporaryDirectory(prefix="imagen-money-") as folder:
        root = options.keep or Path(folder)
        for number in range(options.rounds):
            scene = Scene(
                root / str(number),
                seed=options.seed + number,
                jobs=options.jobs - options.twins,
                twins=options.twins,
                kills=options.kills,
                freezes=options.freezes,
                say=say,
            )
            bad += _report(scene, perform(scene))
    return 1 if bad else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.money", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200, help="[200]")
    parser.add_argument("--twins", type=int, default=20, help="of them equal in all [20]")
    parser.add_argument("--kills", type=int, default=8, help="[8]")
    parser.add_argument("--freezes", type=int, default=6, help="[6]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for logs, files and settings")
    return parser.parse_args()


def _report(scene: Scene, ending: Ending) -> int:
    found = ending.account
    print(f"\nseed {scene.seed}, {ending.seconds:.0f} s")
    print(f"  jobs {found.jobs}, images {found.images}, predictions created {found.created}")
    print(f"  on record ${found.billed_usd}; crashes counted {found.whole.crashes}")
    print(f"  attempts: {_counts(found.whole.attempts)}")
    print(f"  done to it: {_counts(ending.counts)}")
    print(f"  calls: {_counts(found.calls)}")
    for breach in found.breaches:
        print(f"  BREACH: {breach}")
    print(f"  {'NOT GOOD' if found.breaches else 'every prediction paid for once'}")
    return len(found.breaches)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {number}" for what, number in sorted(counts.items()))


if __name__ == "__main__":
    raise SystemExit(main())
