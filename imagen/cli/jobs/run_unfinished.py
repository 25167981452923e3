"""Draws jobs that are in the ledger already: a few by id, or as many as there are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from imagen.cli.draw.running import Watch, go_on_hint, path_printer, run_jobs, tell_warnings
from imagen.cli.jobs.answers import answer_named, answer_run, without_image
from imagen.cli.money.outgoing import tell_outgoing
from imagen.cli.screen.interrupt import Interrupted
from imagen.cli.screen.progress import Count, Meter
from imagen.cli.screen.streams import OutputFailed
from imagen.cli.shell import Shell
from imagen.domain.scope import Scope
from imagen.services.control.outcome import begin_run, named_outcome

if TYPE_CHECKING:
    from imagen.services.control.outcome import JobRun
    from imagen.wiring.bootstrap import Imagen


def draw_named(
    shell: Shell, imagen: Imagen, ids: Sequence[UUID], *, timeout_s: float | None
) -> None:
    """Draw these jobs; prints their paths in this order.

    Raises:
        Failed: some have no image.
    """
    hint = shell.interrupt.how_to_go_on = go_on_hint(imagen, ids)
    scope = Scope(job_ids=tuple(ids))
    watch = Watch(shell)
    run = begin_run(imagen.ledger, [scope])
    if run.before.unfinished:
        with _meter(shell, run, watch):
            run_jobs(shell, imagen, scope, watch=watch, timeout_s=timeout_s)
        tell_outgoing(shell, imagen, scope)
    answer_named(shell, named_outcome(imagen.ledger, ids, errors=watch.errors, hint=hint))


def draw_many(
    shell: Shell, imagen: Imagen, scopes: Sequence[Scope], *, timeout_s: float | None
) -> None:
    """Draw everything unfinished of the scopes, one after the other; prints paths as they come.

    Raises:
        Failed: some failed, or the time was over.
    """
    began_s = time.monotonic()
    run = begin_run(imagen.ledger, scopes)
    hint = "go on with: imagen jobs resume --all"
    if not run.before.unfinished:
        shell.screen.say("nothing to draw")
        answer_run(shell, run.outcome(seconds=0.0), hint="")
        return
    shell.interrupt.how_to_go_on = hint
    watch = Watch(shell, on_path=None if shell.wants_json else path_printer(shell))
    try:
        with _meter(shell, run, watch):
            for scope in scopes:
                spent_s = time.monotonic() - began_s
                left_s = None if timeout_s is None else max(0.0, timeout_s - spent_s)
                run_jobs(shell, imagen, scope, watch=watch, timeout_s=left_s)
    except (Interrupted, OutputFailed):
        shell.screen.say(_line(run))
        raise
    outcome = run.outcome(seconds=time.monotonic() - began_s)
    tell_warnings(shell, outcome.warnings)
    shell.screen.say(_line(run))
    answer_run(shell, outcome, hint=hint)


def _meter(shell: Shell, run: JobRun, watch: Watch) -> Meter:
    def count() -> Count:
        counts = run.counts()
        return Count(counts.drawn, counts.failed, counts.canceled)

    return Meter(shell.screen, total=run.before.unfinished, count=count, phase=watch.phases.common)


def _line(run: JobRun) -> str:
    counts = run.counts()
    drawn = f"{counts.drawn:,} of {run.before.unfinished:,} drawn"
    return ", ".join(filter(None, [drawn, without_image(counts)]))
