"""The configured backends: whether each can draw now, its price, its pause and its outages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imagen.backends.registry import Registry
from imagen.domain.drawn import Health
from imagen.domain.request import ImageRequest
from imagen.domain.size import DEFAULT_SIZE
from imagen.errors import ImagenError
from imagen.ledger.jobs.pauses import paused_backends
from imagen.ledger.store.engine import Ledger
from imagen.services.report.backend_health import check_backends
from imagen.services.report.live_workers import describe_outages


@dataclass(frozen=True, slots=True)
class BackendView:
    """A configured backend as it is now.

    ``price`` is that of one image of the default size, "" where it is unknown. ``paused`` is the
    reason of a pause, None without one. ``outages`` says which live workers cannot reach it.
    """

    name: str
    type: str
    queue: str
    is_default: bool
    health: Health
    price: str
    paused: str | None = None
    outages: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        return {
            "name": self.name,
            "type": self.type,
            "queue": self.queue,
            "default": self.is_default,
            "state": self.health.state,
            "reason": self.health.reason,
            "hint": self.health.hint,
            "warnings": list(self.health.warnings),
            "price": self.price,
            "paused": self.paused,
            "outages": list(self.outages),
        }


def view_backends(
    ledger: Ledger, registry: Registry, *, default: str, lease_s: float
) -> list[BackendView]:
    """All configured backends, each asked free of charge; takes at most six seconds.

    Raises:
        LedgerError: the ledger is away.
    """
    checked = check_backends(registry, registry.names())
    paused = paused_backends(ledger)
    outages = describe_outages(ledger, within_s=lease_s)
    return [
        BackendView(
            name=name,
            type=registry.spec(name).type,
            queue=_queue(registry, name),
            is_default=name == default,
            health=health or Health("unreachable", "no answer"),
            price=_price(registry, name),
            paused=paused.get(name),
            outages=tuple(outages.get(name, ())),
        )
        for name, health in checked.items()
    ]


def _queue(registry: Registry, name: str) -> str:
    try:
        return registry.queue_of(name)
    except ImagenError:
        return registry.spec(name).queue or ""


def _price(registry: Registry, name: str) -> str:
    usual = ImageRequest("an image", "an image", DEFAULT_SIZE.width, DEFAULT_SIZE.height, seed=1)
    try:
        backend = registry.get(name)
        cost = backend.estimate(backend.fit(usual).request)
    except ImagenError:
        return ""
    return "free" if cost.usd == 0 else str(cost)
