"""Pauses a backend at a user's request, and lifts pauses."""

from __future__ import annotations

from imagen.backends.registry import Registry
from imagen.errors import ImagenError
from imagen.ledger.jobs.pauses import pause_backend, resume_backends
from imagen.ledger.store.engine import Ledger


def pause_by_hand(
    ledger: Ledger, registry: Registry, name: str, *, reason: str, pause_s: float | None
) -> None:
    """Let no worker claim jobs of the backend for ``pause_s`` seconds, None for without end.

    Jobs that it is drawing now are finished.

    Raises:
        RequestError: no backend has that name.
    """
    registry.spec(name)
    pause_backend(ledger, name, reason=reason, pause_s=pause_s)


def resume_account(ledger: Ledger, registry: Registry, name: str) -> list[str]:
    """Lift the pause of the backend, and those that an error caused for others of its account.

    Gives the backends that were paused; an empty list when none was.

    Raises:
        RequestError: no backend has that name, and none of that name was paused.
    """
    try:
        account = registry.sharing_account(name)
    except ImagenError:
        # A pause may outlive its backend's entry in the configuration.
        account = []
    resumed = resume_backends(ledger, name, account=account)
    if not resumed:
        registry.spec(name)
    return resumed
