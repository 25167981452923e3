"""`python -m benchmarks`: measure, and print one table. Nothing is asserted."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime

from benchmarks import (
    claims,
    comfyui,
    commands,
    embedded,
    enqueue,
    lanes,
    latency,
    pipeline,
    replicate,
    usage,
)
from benchmarks.bench import Bench
from benchmarks.rows import Row, render

_SECTIONS: dict[str, tuple[str, Callable[[Bench], list[Row]]]] = {
    "commands": ("Whole commands", commands.measure),
    "embedded": ("Embedded: threads of one process", embedded.measure),
    "enqueue": ("Accepting a batch over the queue (whole command)", enqueue.measure),
    "claims": ("Claims behind what cannot be claimed", claims.measure),
    "pipeline": ("Queue to file: gpu and results worker", pipeline.measure),
    "latency": ("One job at a time, over the queue", latency.measure),
    "lanes": ("An interactive job in front of a batch", lanes.measure),
    "comfyui": ("ComfyUI: a busy GPU, and the file", comfyui.measure),
    "replicate": ("Replicate: from ready to known", replicate.measure),
    "usage": ("Sums of usage", usage.measure),
}


def main() -> None:
    """Run what was asked for, in the order above."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, fewer rounds")
    parser.add_argument(
        "--only", nargs="+", choices=list(_SECTIONS), default=list(_SECTIONS), metavar="SECTION",
        help=f"any of: {', '.join(_SECTIONS)}",
    )  # fmt: skip
    arguments = parser.parse_args()
    # Ended from outside, it stops what it started, as with Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sections: dict[str, list[Row]] = {}
    with Bench(quick=arguments.quick) as bench:
        for name in arguments.only:
            title, measure = _SECTIONS[name]
            began_s = time.monotonic()
            sections[title] = measure(bench)
            bench.say(f"{name}: {time.monotonic() - began_s:.0f} s")
    print(_heading(quick=arguments.quick))
    print(render(sections))


def _heading(*, quick: bool) -> str:
    load = os.getloadavg()[0]
    now = datetime.now().astimezone()
    return (
        f"imagen benchmarks{' (quick)' if quick else ''}, {now:%Y-%m-%d %H:%M}; "
        f"Python {platform.python_version()}, {os.cpu_count()} processors, load {load:.1f}\n"
        "Ratios are to what was measured in the same run; other figures depend on the machine.\n"
    )


if __name__ == "__main__":
    main()
