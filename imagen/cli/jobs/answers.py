"""How the commands of ``imagen jobs`` answer: paths, ids with states, or the figures of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imagen.cli.draw.job_messages import tell_warnings
from imagen.cli.screen.progress import without_image
from imagen.cli.shell import Failed, Shell
from imagen.domain.printable import printable_line
from imagen.errors import GaveUpWaiting, ImagenError

if TYPE_CHECKING:
    from imagen.services.control.job_changes import JobChanges
    from imagen.services.control.jobs_outcome import NamedOutcome, RunOutcome


def answer_named(shell: Shell, outcome: NamedOutcome) -> None:
    """The paths of named jobs, in their order, or with ``--json`` everything about them.

    Raises:
        Failed: some have no image; a single one ends with its own error.
    """
    for view in outcome.views:
        if view.is_done and not shell.wants_json:
            shell.screen.answer_result(str(view.job.output_path), what="the image is there")
    tell_warnings(shell.screen, outcome.warnings)
    if len(outcome.views) > 1:
        for view in outcome.without_image:
            if view.error is not None:
                shell.screen.say(f"  job {view.job.id}: {printable_line(view.error.message)}")
    _finish(shell, outcome.to_json(), outcome.error, outcome.exit_code)


def answer_run(shell: Shell, outcome: RunOutcome, *, hint: str) -> None:
    """The figures of a run over many jobs; ``hint`` says how to go on with those left.

    Raises:
        Failed: some failed or were canceled, or some are left.
    """
    counts = outcome.counts
    error: ImagenError | None = None
    if counts.unfinished:
        error = GaveUpWaiting(f"{counts.unfinished:,} jobs are not done yet", hint)
    elif text := without_image(counts):
        state = "failed" if counts.failed else "canceled"
        error = ImagenError(f"jobs: {text}", f"imagen jobs ls --state {state}")
    _finish(shell, outcome.to_json(), error, outcome.exit_code)


def answer_changes(shell: Shell, changes: JobChanges, error: ImagenError | None = None) -> None:
    """With ``--json`` what became of the jobs that a command changed; else only a failure.

    Raises:
        Failed: there is an ``error``.
    """
    _finish(shell, changes.to_json(), error, error.exit_code if error else 0)


def _finish(
    shell: Shell, facts: Mapping[str, Any], error: ImagenError | None, exit_code: int
) -> None:
    if error is not None:
        raise Failed(error, facts, exit_code=exit_code)
    shell.interrupt.how_to_go_on = ""
    if shell.wants_json:
        shell.screen.answer_json({**facts, "error": None})
