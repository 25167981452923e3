"""Runs a fake server as a process of its own, for demos and end-to-end tests."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

F = TypeVar("F")


def wait_for_signal(*lines: str) -> None:
    """Print the lines, which a parent process reads before it goes on; block until SIGTERM."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
    over.wait()


def add_chance_option(parser: argparse.ArgumentParser, faults: Mapping[str, F]) -> None:
    """``--chance FAULT=PROBABILITY``, any number of times; a list of pairs."""
    parser.add_argument(
        "--chance",
        action="append",
        type=_chance_of(faults),
        default=[],
        metavar="FAULT=P",
        help="; ".join(faults),
    )


def _chance_of(faults: Mapping[str, F]) -> Callable[[str], tuple[F, float]]:
    def chance(text: str) -> tuple[F, float]:
        label, _, probability = text.partition("=")
        try:
            return faults[label], float(probability)
        except (KeyError, ValueError):
            raise argparse.ArgumentTypeError(f"{text!r} is not FAULT=PROBABILITY") from None

    return chance
