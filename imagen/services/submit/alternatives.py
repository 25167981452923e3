"""What else could draw when a backend cannot: asked of the other backends, quickly."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from imagen.domain.drawn import Health
from imagen.errors import ImagenError

if TYPE_CHECKING:
    from imagen.backends.registry import Registry

#: Somebody is waiting for an error message.
PATIENCE_S = 3.0


def alternatives(registry: Registry, failed: str) -> list[str]:
    """What to type instead of drawing with ``failed``: options first, then what to set up.

    One backend of each other type is asked, all at once, for at most 3 seconds; those that do not
    answer are passed over.
    """
    candidates = _one_of_each_type(registry, failed)
    options, remedies = [], []
    for name, health in check_all(registry, candidates, patience_s=PATIENCE_S).items():
        if health is None:
            continue
        if health.is_ok:
            options.append(f"--backend {name}")
        elif health.state == "not configured" and health.hint:
            remedies.append(f"{health.hint}, for --backend {name}")
    return options + remedies


def check_all(
    registry: Registry, names: list[str], *, patience_s: float
) -> dict[str, Health | None]:
    """Each backend's health, asked in parallel; nothing for those that take too long.

    A backend whose configuration is wrong is "not configured".
    """
    found: dict[str, Health | None] = dict.fromkeys(names)

    def ask(name: str) -> None:
        found[name] = _check(registry, name)

    # Daemons: one that hangs must not keep the command from ending.
    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    deadline_s = time.monotonic() + patience_s
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return dict(found)


def _check(registry: Registry, name: str) -> Health:
    try:
        return registry.get(name).check()
    except ImagenError as error:
        return Health("not configured", error.message, error.hint)
    except Exception as error:
        # A third party's adapter: its bug is its own line in the list, not the end of it.
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
