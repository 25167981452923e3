"""kombu's Redis transport without the messages and lost connections that would end a worker."""

from __future__ import annotations

import functools
import logging
from queue import Empty
from typing import Any

import redis
from kombu.transport import redis as kombu_redis

from imagen.queue.broker.message import BrokenMessage, check_message, read_object

log = logging.getLogger(__name__)


class _CheckingRedis(kombu_redis.PrefixedStrictRedis):
    """Hands on only messages that a worker can read."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        answer = super().parse_response(connection, command_name, **options)
        if command_name == "BRPOP" and answer:
            queue, raw = answer
            try:
                check_message(raw)
            except BrokenMessage as error:
                _log_dropped(queue.partition(b"\x06")[0].decode(errors="replace"), len(raw), error)
                # As if no message had come in time. It is off the list, so it never comes back.
                return None
        return answer

    def pubsub(self, **options: Any) -> Any:
        return _CheckingPubSub(
            self.connection_pool, global_keyprefix=self.global_keyprefix, **options
        )


class _CheckingPubSub(kombu_redis.PrefixedRedisPubSub):
    """Hands on only control messages and events that are JSON objects."""

    def parse_response(self, *args: Any, **options: Any) -> Any:
        answer = super().parse_response(*args, **options)
        if not answer or not bytes(answer[0]).endswith(b"message"):
            return answer
        try:
            read_object(answer[-1])
        except BrokenMessage as error:
            _log_dropped(answer[-2].decode(errors="replace"), len(answer[-1]), error)
            return None
        return answer


class _CheckingChannel(kombu_redis.Channel):
    def _get_client(self) -> Any:
        return functools.partial(_CheckingRedis, global_keyprefix=self.global_keyprefix)

    def _connparams(self, asynchronous: bool = False) -> Any:
        # Of a connection that is closed already kombu 5.7.0 asks the address of None, and Celery
        # ends the worker; an error of the connection makes it connect again. Observed in restarts
        # of Redis.
        if self.connection.client is None:
            raise redis.ConnectionError("the connection to Redis is closed")
        # The stubs leave it out.
        return super()._connparams(asynchronous=asynchronous)  # type: ignore[misc]


class CheckingTransport(kombu_redis.Transport):
    """For ``broker_transport``; otherwise kombu's own Redis transport."""

    Channel = _CheckingChannel

    def _deliver(self, message: Any, queue: Any) -> None:
        try:
            super()._deliver(message, queue)
        except (Empty, redis.RedisError, OSError):
            # These are about the connection: Celery makes another.
            raise
        except Exception as error:
            # The checks let it through, and Celery cannot take it all the same.
            _log_dropped(queue, 0, error)
            self._drop(message)

    def _drop(self, message: Any) -> None:
        """Take a message that was noted as delivered off the list of those to be restored."""
        properties = message.get("properties") if isinstance(message, dict) else None
        tag = properties.get("delivery_tag") if isinstance(properties, dict) else None
        if not isinstance(tag, str):
            return
        for channel in self.channels or []:
            if channel.qos is not None and tag in (channel.qos._delivered or {}):
                channel.basic_reject(tag, requeue=False)


def _log_dropped(queue: str, size_bytes: int, error: Exception) -> None:
    # Not its content, which may be anything, also a prompt or a password.
    why = str(error) if isinstance(error, BrokenMessage) else type(error).__name__
    log.warning("message_dropped", extra={"queue": queue, "why": why, "size_bytes": size_bytes})
