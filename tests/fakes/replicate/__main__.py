"""``python -m tests.fakes.replicate``: the fake as a process, for demos and e2e tests."""

from __future__ import annotations

import argparse

from tests.fakes.process import add_chance_option, wait_for_signal
from tests.fakes.replicate.faults import FAULTS_BY_LABEL
from tests.fakes.replicate.server import TOKEN, FakeReplicate


def main() -> None:
    """Serve until SIGTERM or Ctrl-C. Controls: ``GET /_fake/stats``, ``/_fake/requests``,
    ``POST /_fake/inject`` and ``/_fake/settings``."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.replicate")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delivery-port", type=int, default=0)
    parser.add_argument("--token", default=TOKEN, help="the accepted token")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is random")
    parser.add_argument("--queue-s", type=float, default=0.0)
    parser.add_argument("--draw-s", type=float, default=0.8)
    parser.add_argument("--jitter", type=float, default=0.0, help="share of draw-s")
    parser.add_argument("--list-lag-s", type=float, default=0.0)
    parser.add_argument("--late-s", type=float, default=0.3)
    parser.add_argument("--retry-after-s", type=float, default=0.2)
    parser.add_argument("--hang-s", type=float, default=2.0)
    parser.add_argument("--creates-per-minute", type=int, default=None)
    add_chance_option(parser, FAULTS_BY_LABEL)
    asked = parser.parse_args()
    with FakeReplicate(
        port=asked.port,
        delivery_port=asked.delivery_port,
        tokens=(asked.token,),
        chances=dict(asked.chance),
        seed=asked.seed,
        queue_s=asked.queue_s,
        draw_s=asked.draw_s,
        jitter=asked.jitter,
        list_lag_s=asked.list_lag_s,
        late_s=asked.late_s,
    ) as fake:
        fake.stage.retry_after_s = asked.retry_after_s
        fake.stage.hang_s = asked.hang_s
        fake.stage.creates_per_minute = asked.creates_per_minute
        wait_for_signal(f"base_url {fake.url}", f"download_hosts {fake.download_hosts[0]}")


if __name__ == "__main__":
    main()
