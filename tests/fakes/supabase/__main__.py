"""``python -m tests.fakes.supabase``: the fake as a process, for demos and e2e tests."""

from __future__ import annotations

import argparse

from tests.fakes.process import add_chance_option, wait_for_signal
from tests.fakes.supabase.faults import SupabaseFault
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
    add_chance_option(parser, {fault.value: fault for fault in SupabaseFault})
    asked = parser.parse_args()
    chances = dict(asked.chance)
    with FakeSupabase(port=asked.port, key=asked.key, chances=chances, seed=asked.seed) as fake:
        fake.world.slow_s = asked.slow_s
        fake.world.max_rows = asked.max_rows
        fake.world.postgrest = asked.postgrest
        # A shell can take these lines over.
        wait_for_signal(*(f"{name}={value}" for name, value in fake.env.items()))


if __name__ == "__main__":
    main()
