"""How long this adapter waits for what, apart so that tests can be quick about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds, and how often.

    Attributes:
        tick_s: longest time between two calls of ``run.progress``, which is how a cancel or a
            lost lease is noticed.
        poll_s: longest time without an event before the server is asked over HTTP.
        lag_s: how soon the history is asked again when an event came before the entry.
        reconnect_s: time between attempts to get a socket back.
        stop_s: how long to wait until a stopped prompt has really ended. It takes effect at the
            next step or node, which may be a slow one.
        repost_s: time before a prompt that was not queued is posted again.
        free_s: time the server gets to drop its models; it does so between prompts.
        fetch_s: time before a broken download is tried again.
        max_draws: how often one call of ``generate`` posts the prompt at most.
    """

    tick_s: float = 1.0
    poll_s: float = 0.5
    lag_s: float = 0.01
    reconnect_s: float = 2.0
    stop_s: float = 10.0
    repost_s: float = 0.5
    free_s: float = 1.0
    fetch_s: float = 0.3
    max_draws: int = 3
