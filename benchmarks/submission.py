"""Puts jobs into a ledger as the commands do, without a command's start."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from benchmarks.bench import Opened
from imagen.domain.job import JobDraft
from imagen.domain.protocols import Publisher
from imagen.domain.scope import Scope
from imagen.ledger.jobs.submit import submit_job
from imagen.queue.publish.queue_filler import QueueFiller
from imagen.services.submit.prompt_file import open_prompts
from imagen.services.submit.resolve import RequestInput, make_draft, resolve
from imagen.services.submit.submit_batch import BatchIdentity, BatchRun
from imagen.services.submit.wakeups import wakeup_for
from imagen.wiring.parts import submit_context
from imagen.wiring.queue_parts import make_queue_publisher

#: The same for every job of the benchmarks: as little drawing as there can be.
_INPUT = RequestInput(prompt="a red fox", backend="mock", size="64x64")


def submit_batch(opened: Opened, prompts: Path, *, key: str = "bench") -> Scope:
    """Accept a file of prompts; sends no wake-up."""
    run = BatchRun(opened.ledger, submit_context(opened.process), opened.registry, _INPUT, _now())
    with open_prompts(str(prompts), sys.stdin.buffer) as lines:
        return run.submit(lines.lines(), BatchIdentity(key, "bench")).scope


def wake_all(opened: Opened) -> None:
    """Send a wake-up for every job that waits, at once instead of a window at a time."""
    publisher = make_queue_publisher(opened.process, opened.ledger)
    QueueFiller(opened.ledger, publisher, 1_000_000).top_up()


def submit_one(opened: Opened, output: Path | None = None) -> JobDraft:
    """Commit one interactive job; sends no wake-up."""
    request_input = RequestInput(
        _INPUT.prompt, _INPUT.backend, _INPUT.size, output=str(output or "")
    )
    resolved = resolve(request_input, submit_context(opened.process), opened.registry)
    draft = make_draft(resolved, request_input, submit_context(opened.process), now=_now())
    submit_job(opened.ledger, draft)
    return draft


def wake(publisher: Publisher, draft: JobDraft) -> None:
    """Send the wake-up of a job."""
    publisher.wake_workers(draft.queue, [wakeup_for(draft)])


def _now() -> datetime:
    return datetime.now().astimezone()
