"""Waits for the first upload attempt of what some jobs have to send, for a bounded time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from imagen.domain.scope import Scope
from imagen.ledger.outbox.outbox import count_untried
from imagen.ledger.outbox.supabase_rows import note_silence, was_silent
from imagen.ledger.store.engine import Ledger
from imagen.services.sync.drain_thread import DrainThread
from imagen.services.sync.send import OutboxSender

#: Seconds an interactive command waits for the first upload attempt …
PATIENCE_S = 10.0
#: … and after another command of this ledger waited in vain.
PATIENCE_AFTER_SILENCE_S = 1.5
#: Seconds for which that is remembered.
SILENCE_REMEMBERED_S = 300.0
_ON_WAIT_AFTER_S = 1.5
_LOOK_EVERY_S = 0.05


def wait_for_first_upload(
    ledger: Ledger,
    scope: Scope,
    *,
    sender: OutboxSender | None,
    stop: threading.Event,
    on_wait: Callable[[], None] = lambda: None,
) -> None:
    """Wait until everything that the scope's jobs have to send was tried once.

    Blocks for at most ten seconds, for 1.5 after a command of this ledger waited in vain within the
    last minutes, or until ``stop`` is set. ``sender`` sends meanwhile; None where a results worker
    does. ``on_wait`` is called once, when the wait has lasted 1.5 seconds.

    Raises:
        LedgerError: the ledger is away.
    """
    number = count_untried(ledger, scope)
    if not number:
        return
    patience_s = PATIENCE_AFTER_SILENCE_S if was_silent(ledger) else PATIENCE_S
    # Again and again: an item that the drawing's own thread was about to send becomes free later.
    drain = None
    if sender is not None:
        drain = DrainThread(sender, scope, is_wanted=lambda: count_untried(ledger, scope) > 0)
    why = ""
    try:
        if drain is not None:
            drain.start()
        if not _wait(ledger, scope, patience_s, stop, on_wait):
            why = f"no answer within {patience_s:.2g} s"
    finally:
        if drain is not None:
            drain.leave(why=why)
    if why and count_untried(ledger, scope) == number:
        note_silence(ledger, for_s=SILENCE_REMEMBERED_S)


def _wait(
    ledger: Ledger,
    scope: Scope,
    patience_s: float,
    stop: threading.Event,
    on_wait: Callable[[], None],
) -> bool:
    """Wait until everything was tried once; False when the patience did not suffice."""
    began_s = time.monotonic()
    is_told = False
    while not stop.wait(_LOOK_EVERY_S) and count_untried(ledger, scope):
        waited_s = time.monotonic() - began_s
        if waited_s > patience_s:
            return False
        if waited_s > _ON_WAIT_AFTER_S and not is_told:
            is_told = True
            on_wait()
    return True
