"""Downloading a drawn image from the server, whole and of the right size."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from imagen.backends.comfyui.run.timings import CancelableWait
from imagen.backends.comfyui.server.client import ComfyClient
from imagen.backends.comfyui.server.history_entry import ImageFile
from imagen.backends.comfyui.workflow.workflow import Workflow
from imagen.domain.size import Size
from imagen.errors import BackendUnavailable
from imagen.images.broken import BrokenImage
from imagen.images.verify import inspect_image

log = logging.getLogger(__name__)

_DOWNLOADS = 3


@dataclass(frozen=True, slots=True)
class FetchedImage:
    """Verified bytes, and warnings for the user."""

    data: bytes
    warnings: tuple[str, ...] = ()


def fetch_image(
    client: ComfyClient,
    images: tuple[ImageFile, ...],
    *,
    workflow: Workflow,
    size: Size,
    wait: CancelableWait,
) -> FetchedImage | None:
    """The first of ``images``; None when the server has no whole copy of it.

    Tried three times. A server that goes away meanwhile is waited for, since its files survive a
    restart (observed on ComfyUI 0.3.64).
    """
    for _ in range(_DOWNLOADS):
        try:
            return _verify(client.view(images[0]), len(images), workflow=workflow, size=size)
        except (BrokenImage, BackendUnavailable) as exc:
            log.warning("comfyui_image_broken", extra={"url": client.url, "why": str(exc)})
        wait.until_answered(client.prove)
        wait.pause_before_retry()
    return None


def _verify(data: bytes, count: int, *, workflow: Workflow, size: Size) -> FetchedImage:
    info = inspect_image(data)
    warnings = []
    drawn_size = f"{info.width}x{info.height}"
    if drawn_size != str(size):
        if workflow.exact_size:
            raise BrokenImage(f"the image is {drawn_size}, not {size}")
        warnings.append(f"asked for {size}, the workflow drew {drawn_size}")
    if count > 1:
        warnings.append(f"the workflow drew {count} images; kept the first")
    return FetchedImage(data, tuple(warnings))
