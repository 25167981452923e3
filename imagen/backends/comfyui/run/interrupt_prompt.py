"""Stopping one prompt and no other, and finding out whether it stopped."""

from __future__ import annotations

import time

from imagen.backends.comfyui.server.client import ComfyClient, PromptStatus
from imagen.errors import BackendError, CredentialError

_LOOK_AGAIN_S = 0.1
_INTERRUPT_AGAIN_S = 1.0


def stop_prompt(client: ComfyClient, prompt_id: str, *, wait_s: float) -> PromptStatus | None:
    """Where the prompt is once it is neither queued nor running; None if that is unknown.

    Blocks up to ``wait_s`` seconds and two timeouts: an interrupt takes effect at the next step
    or node. Safe to call twice. It looks before it interrupts, since old servers ignore the id of
    an interrupt and stop whatever runs. Each order is repeated until it shows effect: the answers
    say nothing, one id may be queued twice, and a waiting prompt may start meanwhile.
    """
    deadline_s = time.monotonic() + wait_s
    interrupted_at_s = float("-inf")
    while True:
        try:
            status = client.look_up(prompt_id)
            if status.where in ("ended", "nowhere"):
                return status
            if status.where == "pending":
                client.delete_queued(prompt_id)
            elif time.monotonic() - interrupted_at_s >= _INTERRUPT_AGAIN_S:
                client.interrupt(prompt_id)
                interrupted_at_s = time.monotonic()
        except (BackendError, CredentialError):
            # The server may be back before the deadline.
            pass
        if time.monotonic() >= deadline_s:
            return None
        time.sleep(min(_LOOK_AGAIN_S, max(0.0, deadline_s - time.monotonic())))
