"""Waits that call a tick every second: for time to pass, and for the shared rate limit."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Literal

from imagen.backends.replicate.api.client import Client
from imagen.backends.replicate.settings import ReplicateSettings
from imagen.domain.protocols import Limiter
from imagen.errors import RateLimited
from imagen.http.deadline import boottime_s

CallKind = Literal["create", "call", "poll"]
#: Called at least once a second during each wait; raises to end the wait.
Tick = Callable[[], None]

_TICK_S = 1.0
# The limit per second is twice the average of the limit per minute: bursts, which Replicate
# allows, go through, but a minute's calls are not all made in its first second.
_SMOOTHING = 2
# The share of an account's calls that polls may use; the rest is for creates, lists and cancels.
_POLL_SHARE = 0.8


def pause(seconds: float, tick: Tick) -> None:
    """Sleep, and call ``tick`` at the start of every second of it."""
    ends_s = boottime_s() + seconds
    while (left_s := ends_s - boottime_s()) > 0:
        tick()
        time.sleep(min(left_s, _TICK_S))


class RateGate:
    """Waits until a call fits the account's rate limits, which all workers share."""

    def __init__(self, client: Client, limiter: Limiter, settings: ReplicateSettings) -> None:
        self._client = client
        self._limiter = limiter
        self._patience_s = settings.patience_s
        self._limits: dict[CallKind, tuple[str, ...]] = {
            "create": _limits(settings.creates_per_minute),
            "call": _limits(settings.calls_per_minute),
            "poll": _limits(max(round(settings.calls_per_minute * _POLL_SHARE), 1)),
        }
        self._creates_held_until_s = 0.0

    def wait(self, kind: CallKind, tick: Tick) -> None:
        """Block until one more call of this kind fits.

        Raises:
            RateLimited: it would not fit within ``patience_s``.
            CredentialError: there is no usable token.
        """
        gives_up_s = boottime_s() + self._patience_s
        if kind == "create":
            # Read again after each pause: a 429 to another thread may have made the wait longer.
            while (held_s := self._creates_held_until_s - boottime_s()) > 0:
                if boottime_s() + held_s > gives_up_s:
                    raise RateLimited("Replicate asked this account to wait", "", held_s)
                pause(held_s, tick)
        self._wait_for_turn(kind, gives_up_s, tick)
        if kind == "poll":
            self._wait_for_turn("call", gives_up_s, tick)

    def hold_creates(self, seconds: float) -> None:
        """Keep this process's create calls back, because one of them was answered with a 429.

        A wait longer than ``patience_s`` is ignored: it may be a mistake, and one answer must not
        delay every job of the account.
        """
        if seconds <= self._patience_s:
            held_until_s = boottime_s() + seconds
            self._creates_held_until_s = max(self._creates_held_until_s, held_until_s)

    def _wait_for_turn(self, kind: CallKind, gives_up_s: float, tick: Tick) -> None:
        while True:
            try:
                self._limiter.wait(self._key(kind), self._limits[kind], timeout_s=_TICK_S)
            except RateLimited as exc:
                if boottime_s() + exc.retry_after_s > gives_up_s:
                    raise
                pause(max(exc.retry_after_s, 0.01), tick)
            else:
                return

    def _key(self, kind: CallKind) -> str:
        # Limits are per account. The hash of its token names the account without showing the token.
        account = hashlib.sha256(self._client.token().encode()).hexdigest()[:12]
        return f"replicate:{self._client.server}:{account}:{kind}"


def _limits(per_minute: int) -> tuple[str, ...]:
    per_second = max(per_minute * _SMOOTHING // 60, 1)
    return (f"{per_second}/second", f"{per_minute}/minute")
