"""Starts and stops the fake Replicate, and lets a test look into it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from tests.fakes.faults import FaultQueue
from tests.fakes.http import LoopbackServer, RecordedRequest
from tests.fakes.replicate.api import ApiHandler
from tests.fakes.replicate.delivery import DeliveryHandler
from tests.fakes.replicate.faults import ReplicateFault
from tests.fakes.replicate.http import FakeSettings
from tests.fakes.replicate.world import PredictionStore

TOKEN = "test-token"


class FakeReplicate:
    """A Replicate on this machine, API and delivery host, for the time of a ``with`` block.

    >>> with FakeReplicate(draw_s=0.1) as fake:
    ...     fake.inject(ReplicateFault.LOST_AFTER_CREATION)
    ...     use(base_url=fake.url, download_hosts=fake.download_hosts)
    ...     assert fake.world.created_count() == 1

    ``chances`` makes faults strike at random, repeatable by ``seed``; ``world`` and ``stage``
    hold what may be changed while it runs.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        delivery_port: int = 0,
        tokens: tuple[str, ...] = (TOKEN,),
        chances: Mapping[ReplicateFault, float] | None = None,
        seed: int = 0,
        queue_s: float = 0.0,
        draw_s: float = 0.02,
        jitter: float = 0.0,
        list_lag_s: float = 0.0,
        late_s: float = 0.3,
        retention_s: float = 3600.0,
    ) -> None:
        self.world = PredictionStore(
            queue_s=queue_s,
            draw_s=draw_s,
            jitter=jitter,
            list_lag_s=list_lag_s,
            late_s=late_s,
            retention_s=retention_s,
            seed=seed,
        )
        self.stage = FakeSettings(self.world, FaultQueue(chances, seed=seed), tokens)
        # The handler classes hold what lives as long as this server: none is shared.
        api = type("ApiHandler", (ApiHandler,), {"stage": self.stage, "recent": deque()})
        delivery = type("DeliveryHandler", (DeliveryHandler,), {"stage": self.stage})
        self._api = LoopbackServer(api, port=port)
        self._delivery = LoopbackServer(delivery, port=delivery_port)
        self.stage.delivery_url = self._delivery.url

    def __enter__(self) -> Self:
        self._api.start()
        self._delivery.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._api.stop()
        self._delivery.stop()

    @property
    def url(self) -> str:
        """The ``base_url`` to configure."""
        return self._api.url

    @property
    def download_hosts(self) -> tuple[str, ...]:
        """The ``download_hosts`` to configure."""
        return (f"127.0.0.1:{self._delivery.server_port}",)

    def inject(self, fault: ReplicateFault, times: int = 1) -> None:
        """Let a fault strike at its next ``times`` occasions, after those already ordered."""
        self.stage.faults.inject(fault, times)

    @property
    def calls(self) -> list[RecordedRequest]:
        """Every request so far."""
        return list(self.world.calls)

    def count_calls(self, method: str, ending: str, host: str = "api") -> int:
        """Requests to a host whose path (without its query) ends so."""
        return sum(
            call.host == host
            and call.method == method
            and call.path.partition("?")[0].endswith(ending)
            for call in self.calls
        )

    def stats(self) -> dict[str, Any]:
        """As ``/_fake/stats`` tells them to other processes."""
        return self.world.stats()
