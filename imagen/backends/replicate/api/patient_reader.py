"""GETs that are repeated with growing waits, for reads that a purchase depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from imagen.backends.replicate.api.client import ApiAnswer, Client
from imagen.backends.replicate.api.rate_gate import CallKind, RateGate, Tick, pause
from imagen.backends.replicate.api.refusals import read_retry_after_s
from imagen.errors import RateLimited
from imagen.http.deadline import boottime_s
from imagen.http.exchange import Unanswered

_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 10.0

T = TypeVar("T")


class Unreadable(Exception):
    """No answer could be read within ``patience_s``; the message is the last reason."""


@dataclass(frozen=True, slots=True)
class PatientReader:
    """Repeats a GET until its answer can be read, or ``patience_s`` is over. Threads share it."""

    client: Client
    gate: RateGate
    patience_s: float

    def read(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        read: Callable[[ApiAnswer], T | None],
        kind: CallKind,
        timeout_s: float,
        tick: Tick,
    ) -> T:
        """What ``read`` makes of the answer; it returns None where the GET shall be repeated.

        Raises:
            Unreadable: ``patience_s`` is over.
            CredentialError: there is no usable token.
        """
        gives_up_s = boottime_s() + self.patience_s
        backoff_s = _FIRST_BACKOFF_S
        while True:
            wait_s = backoff_s
            try:
                self.gate.wait(kind, tick)
                answer = self.client.get(path, params, timeout_s=timeout_s)
            except Unanswered as exc:
                reason = exc.reason
            except RateLimited as exc:
                reason, wait_s = "too many calls", max(backoff_s, exc.retry_after_s)
            else:
                found = read(answer)
                if found is not None:
                    return found
                reason = f"it answered {answer.status}"
                if answer.status == 429:
                    wait_s = max(backoff_s, read_retry_after_s(answer) or 0.0)
            if boottime_s() + wait_s > gives_up_s:
                raise Unreadable(reason)
            pause(wait_s, tick)
            backoff_s = min(backoff_s * 2, _LONGEST_BACKOFF_S)
