"""Empties the outbox in a thread of its own, so that its caller can give up on a silent server."""

from __future__ import annotations

import threading
from collections.abc import Callable

from imagen.domain.scope import Scope
from imagen.ledger.outbox.outbox import give_back_outgoing
from imagen.services.sync.send import OutboxSender

#: Seconds that ``leave`` waits for the thread to end.
END_S = 0.3
_AGAIN_AFTER_S = 0.2


class DrainThread:
    """Sends what is due of the scope's jobs. The process must hold its lock file meanwhile."""

    def __init__(
        self,
        sender: OutboxSender,
        scope: Scope,
        *,
        now: bool = False,
        is_wanted: Callable[[], bool] = lambda: False,
    ) -> None:
        """``now`` sends what was put off as well; it starts over while ``is_wanted`` says so."""
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._sender = sender
        self._scope = scope
        self._now = now
        self._is_wanted = is_wanted
        self._sent = 0
        self._error: Exception | None = None
        # A daemon: a call that blocks for a minute must not keep the process alive.
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Whether everything was tried within so many seconds."""
        return self._over.wait(timeout_s)

    def leave(self, *, why: str = "") -> None:
        """Begin no other upload, and give back what this process holds in the outbox.

        Another process may then send it at once. ``why`` is recorded as the reason that it did not
        arrive.
        """
        self._stopping.set()
        # Unless it is in the middle of a call it ends now, and claims nothing after the give-back.
        self._over.wait(END_S)
        give_back_outgoing(self._sender.ledger, [self._sender.owner], why=why)

    @property
    def sent(self) -> int:
        """How many items arrived.

        Raises:
            ImagenError: the ledger went away meanwhile.
        """
        if self._error is not None:
            raise self._error
        return self._sent

    def _run(self) -> None:
        try:
            self._drain()
            while self._is_wanted() and not self._stopping.wait(_AGAIN_AFTER_S):
                self._drain()
        except Exception as error:
            self._error = error
        finally:
            self._over.set()

    def _drain(self) -> None:
        report = self._sender.drain(self._scope, now=self._now, should_stop=self._stopping.is_set)
        self._sent += report.sent
