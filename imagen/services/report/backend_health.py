"""Which backends can draw now, asked of all of them at once and for a bounded time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagen.domain.drawn import Health
from imagen.errors import BackendUnavailable, CredentialError, ImagenError

if TYPE_CHECKING:
    from imagen.backends.registry import Registry

#: Seconds that an error message may be delayed by looking for alternatives.
_ALTERNATIVES_PATIENCE_S = 3.0
#: A check takes at most 5 s.
_CHECK_PATIENCE_S = 6.0


@dataclass(frozen=True, slots=True)
class Alternative:
    """A backend to draw with instead. ``remedy`` is what to do before; "" when it can draw now."""

    backend: str
    remedy: str = ""


def check_backends(
    registry: Registry, names: Sequence[str], *, patience_s: float = _CHECK_PATIENCE_S
) -> dict[str, Health | None]:
    """The health of each backend; None for those that take longer than ``patience_s`` seconds.

    A backend whose configuration is wrong is "not configured".
    """
    found: dict[str, Health | None] = dict.fromkeys(names)

    def check(name: str) -> None:
        found[name] = _check(registry, name)

    # Daemons: a check that hangs must not keep the process alive.
    threads = [threading.Thread(target=check, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    deadline_s = time.monotonic() + patience_s
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return dict(found)


def require_usable_backend(registry: Registry, name: str) -> None:
    """Return when a backend can draw, or does not say within six seconds that it cannot.

    Raises:
        CredentialError: it is not configured.
        BackendUnavailable: it is not reachable, or not able to draw.
    """
    health = check_backends(registry, [name])[name]
    if health is None or health.is_ok:
        return
    reason = (health.reason or health.hint).removeprefix(f"backend {name!r} ")
    cls = CredentialError if health.state == "not configured" else BackendUnavailable
    raise cls(f"backend {name!r} is {health.state}: {reason}", health.hint)


def find_alternatives(registry: Registry, failed: str) -> list[Alternative]:
    """What could draw in place of the backend ``failed``: usable ones first, then those to set up.

    One backend of each other type is checked, for at most three seconds in all.
    """
    names = _one_of_each_type(registry, failed)
    found = check_backends(registry, names, patience_s=_ALTERNATIVES_PATIENCE_S)
    healths = {name: health for name, health in found.items() if health is not None}
    usable = [Alternative(name) for name, health in healths.items() if health.is_ok]
    return usable + [
        Alternative(name, health.hint)
        for name, health in healths.items()
        if health.state == "not configured" and health.hint
    ]


def _check(registry: Registry, name: str) -> Health:
    try:
        return registry.get(name).check()
    except ImagenError as error:
        return Health("not configured", error.message, error.hint)
    except Exception as error:
        # A bug in the adapter of a third party concerns that backend alone.
        return Health("unreachable", f"its check failed with {type(error).__name__}")


def _one_of_each_type(registry: Registry, failed: str) -> list[str]:
    seen = {registry.spec(failed).type}
    chosen = []
    for name in registry.names():
        kind = registry.spec(name).type
        if kind not in seen:
            seen.add(kind)
            chosen.append(name)
    return chosen
