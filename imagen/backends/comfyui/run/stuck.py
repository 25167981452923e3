"""What the threads of one backend know together about a server that has stopped drawing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from imagen.errors import BackendStuck

if TYPE_CHECKING:
    from imagen.backends.comfyui.server.client import ComfyClient

_FIRST_PAUSE_S = 30.0
_LONGEST_PAUSE_S = 600.0


class StuckSign:
    """The prompt that a server's worker thread died on, put up until it is seen to be gone.

    Such a server answers everything with 200 and runs nothing more until it is restarted
    (observed on ComfyUI 0.3.64), so nobody is to wait behind that prompt.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._prompt_id = ""
        self._streak = 0

    @property
    def prompt_id(self) -> str:
        """The prompt that does not move, or ""."""
        return self._prompt_id

    def put_up(self, prompt_id: str) -> float:
        """Remember the prompt; how many seconds to leave the server alone, more each time."""
        with self._lock:
            self._prompt_id = prompt_id
            self._streak += 1
            return float(min(_FIRST_PAUSE_S * 2 ** (self._streak - 1), _LONGEST_PAUSE_S))

    def take_down(self) -> None:
        """Something was drawn, or the prompt is gone: the server works."""
        with self._lock:
            self._prompt_id = ""
            self._streak = 0

    def refuse_if_up(self, client: ComfyClient) -> None:
        """Return when nothing is known to be stuck there.

        Raises:
            BackendStuck: the prompt is still in execution; nothing was sent.
        """
        prompt_id = self._prompt_id
        if not prompt_id:
            return
        if prompt_id not in client.running_ids():
            self.take_down()
            return
        raise self.error(client)

    def error(self, client: ComfyClient) -> BackendStuck:
        # No pause: as long as the prompt is there, a check says so.
        return BackendStuck(
            f"ComfyUI at {client.url} is stuck: it answers, but what it runs does not move",
            "restart it",
            0.0,
        )
