"""Posting a prompt so that it is queued once, whatever becomes of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagen.backends.comfyui.run.interrupt_prompt import stop_prompt
from imagen.backends.comfyui.run.timings import Timings
from imagen.backends.comfyui.run.waiting import CancelableWait
from imagen.backends.comfyui.server.client import ComfyClient
from imagen.backends.comfyui.workflow.fitting import values_for
from imagen.backends.comfyui.workflow.workflow import Workflow
from imagen.domain.request import ImageRequest
from imagen.errors import BackendRejected, BackendUnavailable, OutcomeUnknown

_POSTS = 3


def make_body(
    workflow: Workflow,
    request: ImageRequest,
    *,
    attempt_id: str,
    prompt_id: str,
    client_id: str,
    draw: int,
) -> dict[str, Any]:
    """What is posted for the attempt's ``draw``-th try, counted from 1.

    Each has a file prefix of its own: names are used again after a deletion, and an identical
    graph is answered from the cache with the old file's name, even when that file is gone (both
    observed on ComfyUI 0.3.64).
    """
    name = "image" if draw == 1 else f"image-{draw}"
    return {
        "prompt": workflow.fill(
            values_for(request, workflow), filename_prefix=f"imagen/{attempt_id}/{name}"
        ),
        "prompt_id": prompt_id,
        # Anything but a string here takes the whole server down, and anything but an object in
        # extra_data its worker thread (observed on ComfyUI 0.3.64).
        "client_id": client_id,
        "extra_data": {"imagen": {"attempt": attempt_id}},
    }


def post_prompt(
    client: ComfyClient,
    body: Mapping[str, Any],
    *,
    waiting: CancelableWait,
    patience_s: float,
    timings: Timings,
) -> str:
    """The prompt's id as the server has it, once it is certain that it was queued.

    An answer that is lost, or a 5xx, proves nothing, so the id is looked up before it is posted
    again: a second post of a queued id would run it twice.

    Raises:
        BackendRejected: the graph is wrong; nothing of it runs any more.
        BackendUnavailable: certainly not queued.
        OutcomeUnknown: the server was not there to be asked for ``patience_s`` seconds.
    """
    prompt_id = str(body["prompt_id"])
    for left in reversed(range(_POSTS)):
        try:
            return client.submit(body)
        except BackendRejected:
            # With one good output and one bad the server refuses and runs the good one.
            stop_prompt(client, prompt_id, wait_s=timings.stop_s)
            raise
        except OutcomeUnknown as exc:
            if _was_queued(client, prompt_id, exc, waiting=waiting, patience_s=patience_s):
                return prompt_id
            if not left:
                raise BackendUnavailable(f"{exc.message}; it was not", exc.hint) from exc
        waiting.pause(timings.repost_s)
    raise AssertionError("the last round returns or raises")


def _was_queued(
    client: ComfyClient,
    prompt_id: str,
    unknown: OutcomeUnknown,
    *,
    waiting: CancelableWait,
    patience_s: float,
) -> bool:
    try:
        found = waiting.until_answered(lambda: client.look_up(prompt_id), patience_s=patience_s)
    except BackendUnavailable:
        raise unknown from None
    return found.where != "nowhere"
