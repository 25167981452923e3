"""Draws jobs that are in the ledger already: a few by id, or as many as there are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from uuid import UUID

from imagen.cli.draw.job_messages import JobMessages, tell_warnings
from imagen.cli.draw.run_jobs import JobRunner, path_printer
from imagen.cli.jobs.answers import answer_named, answer_run
from imagen.cli.money.outgoing import tell_outgoing
from imagen.cli.screen.interrupt import Interrupted
from imagen.cli.screen.progress import meter, without_image
from imagen.cli.screen.streams import OutputFailed
from imagen.domain.scope import Scope
from imagen.services.control.jobs_outcome import begin_run, named_outcome

if TYPE_CHECKING:
    from imagen.services.control.jobs_outcome import JobRun


def draw_named(runner: JobRunner, ids: Sequence[UUID], *, timeout_s: float | None) -> None:
    """Draw these jobs; prints their paths in this order.

    Raises:
        Failed: some have no image.
    """
    shell, ledger = runner.shell, runner.ledger
    hint = shell.interrupt.how_to_go_on = runner.go_on_hint(ids)
    scope = Scope(job_ids=tuple(ids))
    messages = JobMessages(shell.screen)
    run = begin_run(ledger, [scope])
    if run.before.unfinished:
        with _meter(runner, run, messages):
            runner.run(scope, messages, timeout_s=timeout_s)
        tell_outgoing(shell, runner.process, ledger, scope)
    answer_named(shell, named_outcome(ledger, ids, errors=messages.errors, hint=hint))


def draw_many(runner: JobRunner, scopes: Sequence[Scope], *, timeout_s: float | None) -> None:
    """Draw everything unfinished of the scopes, one after the other; prints paths as they come.

    Raises:
        Failed: some failed, or the time was over.
    """
    shell = runner.shell
    began_s = time.monotonic()
    run = begin_run(runner.ledger, scopes)
    hint = "go on with: imagen jobs resume --all"
    if not run.before.unfinished:
        shell.screen.say("nothing to draw")
        answer_run(shell, run.outcome(seconds=0.0), hint="")
        return
    shell.interrupt.how_to_go_on = hint
    on_path = None if shell.wants_json else path_printer(shell.screen)
    messages = JobMessages(shell.screen, on_path=on_path)
    try:
        with _meter(runner, run, messages):
            for scope in scopes:
                spent_s = time.monotonic() - began_s
                left_s = None if timeout_s is None else max(0.0, timeout_s - spent_s)
                runner.run(scope, messages, timeout_s=left_s)
    except (Interrupted, OutputFailed):
        shell.screen.say(_line(run))
        raise
    outcome = run.outcome(seconds=time.monotonic() - began_s)
    tell_warnings(shell.screen, outcome.warnings)
    shell.screen.say(_line(run))
    answer_run(shell, outcome, hint=hint)


def _meter(runner: JobRunner, run: JobRun, messages: JobMessages) -> AbstractContextManager[None]:
    return meter(
        runner.shell.screen,
        total=run.before.unfinished,
        count=run.counts,
        phase=messages.phases.common_phase,
    )


def _line(run: JobRun) -> str:
    counts = run.counts()
    drawn = f"{counts.drawn:,} of {run.before.unfinished:,} drawn"
    return ", ".join(filter(None, [drawn, without_image(counts)]))
