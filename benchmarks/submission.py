"""Puts jobs into a ledger as the commands do, without a command's start."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from imagen.domain.job import JobDraft
from imagen.domain.scope import Scope
from imagen.ledger.jobs.submit import submit_job
from imagen.queue.publish.queue_filler import QueueFiller
from imagen.services.submit.prompt_file import open_prompts
from imagen.services.submit.resolve import RequestInput, make_draft, resolve
from imagen.services.submit.submit_batch import BatchIdentity, BatchRun
from imagen.services.submit.wakeups import wakeup_for
from imagen.wiring.bootstrap import Imagen

#: The same for every job of the benchmarks: as little drawing as there can be.
_INPUT = RequestInput(prompt="a red fox", backend="mock", size="64x64")


def submit_batch(imagen: Imagen, prompts: Path, *, key: str = "bench") -> Scope:
    """Accept a file of prompts; wakes nobody."""
    run = BatchRun(imagen.ledger, imagen.submit_context(), imagen.registry, _INPUT, _now())
    with open_prompts(str(prompts), sys.stdin.buffer) as lines:
        return run.submit(lines.lines(), BatchIdentity(key, "bench")).scope


def wake_all(imagen: Imagen) -> None:
    """Send a wake-up for every job that waits, at once instead of a window at a time."""
    publisher = imagen.queue_publisher
    QueueFiller(
        imagen.ledger, publisher, publisher.client, publisher.broker_url, 1_000_000
    ).top_up()


def submit_one(imagen: Imagen, output: Path | None = None) -> JobDraft:
    """Commit one interactive job; wakes nobody."""
    request_input = RequestInput(
        _INPUT.prompt, _INPUT.backend, _INPUT.size, output=str(output or "")
    )
    resolved = resolve(request_input, imagen.submit_context(), imagen.registry)
    draft = make_draft(resolved, request_input, imagen.submit_context(), now=_now())
    submit_job(imagen.ledger, draft)
    return draft


def wake(imagen: Imagen, draft: JobDraft) -> None:
    """Send the wake-up of a job."""
    imagen.queue_publisher.wake_workers(draft.queue, [wakeup_for(draft)])


def _now() -> datetime:
    return datetime.now().astimezone()
