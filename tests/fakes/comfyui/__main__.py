"""``python -m tests.fakes.comfyui``: the fake as a server of its own, for demos."""

from __future__ import annotations

import argparse
import sys

from tests.fakes.comfyui.faults import FAULTS
from tests.fakes.comfyui.server import FakeComfyUI
from tests.fakes.process import wait_for_signal


def main() -> int:
    """Serve until interrupted; the url is the first line on stdout."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fakes.comfyui",
        description="ComfyUI without a GPU. GET /_fake/stats tells what it has drawn.",
        epilog="faults: " + "; ".join(f"{name}: {what}" for name, what in FAULTS.items()),
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8188, help="0 takes a free one")
    parser.add_argument("--draw-s", type=float, default=1.0, help="device time of one image")
    parser.add_argument("--load-s", type=float, default=0.0, help="time to load another model")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME", choices=FAULTS)
    options = parser.parse_args()
    fake = FakeComfyUI(
        host=options.host, port=options.port, draw_s=options.draw_s, load_s=options.load_s
    )
    for name in options.fault:
        fake.inject(name)
    with fake:
        wait_for_signal(fake.url)
    return 0


if __name__ == "__main__":
    sys.exit(main())
