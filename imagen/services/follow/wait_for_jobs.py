"""Waits for jobs that other processes draw, by the ledger alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from imagen.domain.job import JobState
from imagen.domain.scope import Scope
from imagen.ledger.jobs.worker_rows import live_workers
from imagen.ledger.queries.jobs import jobs_in
from imagen.ledger.queries.unfinished_jobs import has_unfinished
from imagen.ledger.store.engine import Ledger

_FIRST_LOOK_S = 0.25
_LAST_LOOK_S = 1.0
#: Seconds after which it is told that no process may be there to draw the jobs.
_UNATTENDED_AFTER_S = 5.0


def wait_for_jobs(
    ledger: Ledger,
    scope: Scope,
    *,
    stop: threading.Event,
    timeout_s: float | None = None,
    lease_s: float,
    on_unattended: Callable[[], None] = lambda: None,
) -> bool:
    """Block until nothing of ``scope`` is unfinished; says whether that is so.

    Ends early, with False, when ``stop`` is set or ``timeout_s`` seconds are over.
    ``on_unattended`` is called once, when no process holds any of the jobs after five seconds and
    no worker has reported within ``lease_s`` seconds.

    Raises:
        LedgerError: the ledger is away.
    """
    began_s = time.monotonic()
    look_s = _FIRST_LOOK_S
    has_told = False
    while has_unfinished(ledger, scope):
        waited_s = time.monotonic() - began_s
        if timeout_s is not None and waited_s >= timeout_s:
            return False
        if waited_s > _UNATTENDED_AFTER_S and not has_told:
            has_told = True
            if _is_unattended(ledger, scope, lease_s):
                on_unattended()
        if stop.wait(look_s if timeout_s is None else min(look_s, timeout_s - waited_s)):
            return False
        look_s = min(_LAST_LOOK_S, look_s * 1.5)
    return True


def _is_unattended(ledger: Ledger, scope: Scope, lease_s: float) -> bool:
    unfinished = [state for state in JobState if not state.is_terminal]
    if any(job.lease_owner is not None for job in jobs_in(ledger, scope, states=unfinished)):
        return False
    return not live_workers(ledger, within_s=lease_s)
