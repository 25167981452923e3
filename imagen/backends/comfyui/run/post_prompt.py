"""Queueing a prompt once: found where an earlier worker posted it, or posted here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from imagen.backends.comfyui.run.timings import CancelableWait
from imagen.backends.comfyui.server.client import ComfyClient
from imagen.domain.job import Attempt
from imagen.errors import BackendError, BackendUnavailable, CredentialError, OutcomeUnknown

log = logging.getLogger(__name__)

_POSTS = 3


def find_server(
    previous: Attempt | None, client: ComfyClient, *, connect: Callable[[str], ComfyClient]
) -> ComfyClient | None:
    """The server that has the earlier worker's prompt queued, running or in its history.

    ``client`` is the backend's own server; ``connect`` makes a client for another url. None where
    there was no earlier worker, or where its prompt is gone.

    Raises:
        OutcomeUnknown: the backend's own server may have the prompt and cannot be asked.
    """
    if previous is None or not previous.external_id:
        return None
    if previous.place in ("", client.url):
        try:
            is_known = client.look_up(previous.external_id).where != "nowhere"
        except BackendUnavailable as exc:
            # A prompt that cannot be looked up must not be posted a second time.
            raise OutcomeUnknown(exc.message, exc.hint) from exc
        return client if is_known else None
    other = connect(previous.place)
    try:
        return other if other.look_up(previous.external_id).where != "nowhere" else None
    except (BackendError, CredentialError):
        # Another host's loopback, or a server that is gone: drawing it here costs nothing.
        log.info("comfyui_place_unreachable", extra={"place": other.url})
        return None


def post_prompt(client: ComfyClient, body: Mapping[str, Any], *, wait: CancelableWait) -> str:
    """The prompt's id as the server has it, once it is certain that it was queued.

    An answer that is lost, or a 5xx, proves nothing, so the id is looked up before it is posted
    again: a second post of a queued id would run it twice.

    Raises:
        BackendRejected: the graph is wrong; a good part of it may run nevertheless.
        BackendUnavailable: certainly not queued.
        OutcomeUnknown: the server could not be asked within ``restart_wait_s``.
    """
    prompt_id = str(body["prompt_id"])
    for left in reversed(range(_POSTS)):
        try:
            return client.submit(body)
        except OutcomeUnknown as exc:
            if _was_queued(client, prompt_id, exc, wait):
                return prompt_id
            if not left:
                raise BackendUnavailable(f"{exc.message}; it was not", exc.hint) from exc
        wait.pause_before_retry()
    raise AssertionError("the last round returns or raises")


def _was_queued(
    client: ComfyClient, prompt_id: str, unknown: OutcomeUnknown, wait: CancelableWait
) -> bool:
    try:
        return wait.until_answered(lambda: client.look_up(prompt_id)).where != "nowhere"
    except BackendUnavailable:
        raise unknown from None
