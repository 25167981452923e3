"""Tells workers at once that jobs were canceled, as a hint: the mark on the row is the truth."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import redis

from imagen.errors import ImagenError
from imagen.queue.broker.routing import CANCELS_CHANNEL

log = logging.getLogger(__name__)

#: How long one wait for a message lasts.
_LISTEN_S = 1.0
#: Between two looks at the ledger, when cancels come by the hundred.
_REST_S = 0.2
_CONNECT_AGAIN_S = 2.0


def announce_cancel(client: redis.Redis) -> None:
    """Have every worker look now which of its jobs are canceled; without Redis they look with
    their next heartbeat."""
    try:
        client.publish(CANCELS_CHANNEL, b"")
    except redis.RedisError as error:
        log.info("cancel_not_announced", extra={"why": str(error)})


@dataclass
class CancelListener:
    """Calls ``look`` soon after each announcement, and each time that it has connected."""

    client: redis.Redis
    look: Callable[[], None]
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        threading.Thread(target=self._run, name="imagen-cancels", daemon=True).start()

    def stop(self) -> None:
        """End the thread within a second; it is not waited for."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except redis.RedisError as error:
                # Meanwhile heartbeats learn of cancels.
                log.debug("cancels_not_heard", extra={"why": str(error)})
                self._stop.wait(_CONNECT_AGAIN_S)

    def _listen(self) -> None:
        with self.client.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call]  # redis-py does not type it
            pubsub.subscribe(CANCELS_CHANNEL)
            self._look()
            while not self._stop.is_set():
                if pubsub.get_message(timeout=_LISTEN_S) is not None:
                    self._look()
                    self._stop.wait(_REST_S)

    def _look(self) -> None:
        try:
            self.look()
        except ImagenError as error:
            log.info("cancel_not_looked_up", extra={"why": str(error)})
