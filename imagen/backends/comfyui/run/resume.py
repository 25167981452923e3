"""Finding the prompt that an earlier worker has left behind, at whichever server that was."""

from __future__ import annotations

import logging
from collections.abc import Callable

from imagen.backends.comfyui.server.client import ComfyClient
from imagen.domain.job import Attempt
from imagen.errors import BackendError, BackendUnavailable, CredentialError, OutcomeUnknown

log = logging.getLogger(__name__)


def find_server(
    previous: Attempt | None, client: ComfyClient, *, elsewhere: Callable[[str], ComfyClient]
) -> ComfyClient | None:
    """The server that has the prompt queued, running or in its history; nothing if none has.

    ``client`` is our own server, ``elsewhere`` makes a client for another.

    Raises:
        OutcomeUnknown: our own server may have it and cannot be asked.
    """
    if previous is None or not previous.external_id:
        return None
    if previous.place not in ("", client.url):
        return _ask_elsewhere(elsewhere(previous.place), previous.external_id)
    try:
        found = client.look_up(previous.external_id)
    except BackendUnavailable as exc:
        # What cannot be looked up must not be posted either.
        raise OutcomeUnknown(exc.message, exc.hint) from exc
    return client if found.where != "nowhere" else None


def _ask_elsewhere(other: ComfyClient, prompt_id: str) -> ComfyClient | None:
    try:
        if other.look_up(prompt_id).where != "nowhere":
            return other
    except (BackendError, CredentialError):
        # Another host's loopback, or a server that is gone: drawing it here costs nothing.
        log.info("comfyui_place_unreachable", extra={"place": other.url})
    other.close()
    return None
