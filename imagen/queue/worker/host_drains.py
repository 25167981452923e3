"""What a results worker does for a wake-up: deliver, or send, all that waits for its host."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import redis

from imagen.domain.protocols import Publisher
from imagen.ledger.jobs.delivery import DRAIN_SIZE
from imagen.queue.broker.routing import drain_key, outbox_key
from imagen.services.deliver.host_delivery import HostDelivery
from imagen.services.draw.claim_outcome import ClaimOutcome
from imagen.services.sync.send import OutboxSender, SendReport

#: A task ends after about so many deliveries.
_MOST_DELIVERIES = 1_000

#: How long images are left to gather where one drain follows another.
_GATHER_S = 0.05


@dataclass
class DeliveryDrain:
    """Delivers what waits for this host; one thread does it for all."""

    delivery: HostDelivery
    publisher: Publisher
    client: redis.Redis
    stopping: threading.Event
    _draining: threading.Lock = field(default_factory=threading.Lock)

    def deliver_all(self) -> list[ClaimOutcome]:
        """Deliver until nothing waits, 64 jobs at a time.

        After a thousand it sends a wake-up and returns: no task runs as long as a bulk run does.

        Measured: four threads at it were half as fast as one, and drains of one or two images each
        cost twice the processor of drains that let them gather. The first drain never waits.
        """
        outcomes: list[ClaimOutcome] = []
        host = self.delivery.holder.host
        with self._draining:
            # Dropped first: what is generated from now on sends a wake-up of its own.
            self.client.delete(drain_key(host))
            while not self.stopping.is_set():
                if len(outcomes) >= _MOST_DELIVERIES:
                    self.publisher.wake_results(host)
                    break
                delivered = self.delivery.deliver_some()
                if not delivered:
                    break
                is_stream = bool(outcomes)
                outcomes += delivered
                if is_stream and len(delivered) < DRAIN_SIZE:
                    self.stopping.wait(_GATHER_S)
        return outcomes


@dataclass
class OutboxDrain:
    """Sends what is due in the outbox; one thread does it for all."""

    #: None in workers that do not send.
    sync: OutboxSender | None
    host: str
    client: redis.Redis
    stopping: threading.Event
    _sending: threading.Lock = field(default_factory=threading.Lock)

    def send_all(self) -> SendReport:
        """Send until nothing is due, or this process is to stop."""
        self.client.delete(outbox_key(self.host))
        if self.sync is None:
            return SendReport()
        with self._sending:
            # Stopping must not wait for a long backlog.
            return self.sync.drain(should_stop=self.stopping.is_set)
