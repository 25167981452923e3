"""``python -m tests.fakes.supabase``: the fake as a process, for demos and e2e tests."""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from tests.fakes.supabase.faults import Fault
from tests.fakes.supabase.server import KEY, FakeSupabase


def main() -> None:
    """Serve until SIGTERM or Ctrl-C. Controls: ``GET /_fake/stats``, ``/_fake/requests``,
    ``POST /_fake/inject``, ``/_fake/heal`` and ``/_fake/settings``."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.supabase")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default=KEY, help="the accepted secret key")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is random")
    parser.add_argument("--slow-s", type=float, default=1.0)
    parser.add_argument("--max-rows", type=int, default=1000)
    parser.add_argument("--postgrest", type=int, choices=(12, 14), default=12)
    parser.add_argument(
        "--chance",
        action="append",
        type=_chance,
        default=[],
        metavar="FAULT=P",
        help="; ".join(fault.value for fault in Fault),
    )
    asked = parser.parse_args()
    chances = dict(asked.chance)
    with FakeSupabase(port=asked.port, key=asked.key, chances=chances, seed=asked.seed) as fake:
        fake.world.slow_s = asked.slow_s
        fake.world.max_rows = asked.max_rows
        fake.world.postgrest = asked.postgrest
        # Two lines that a parent process can read before it goes on, and a shell can take over.
        sys.stdout.write("".join(f"{name}={value}\n" for name, value in fake.env.items()))
        sys.stdout.flush()
        over = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: over.set())
        over.wait()


def _chance(text: str) -> tuple[Fault, float]:
    label, _, probability = text.partition("=")
    try:
        return Fault(label), float(probability)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not FAULT=PROBABILITY") from None


if __name__ == "__main__":
    main()
