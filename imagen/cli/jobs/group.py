"""The ``imagen jobs`` group."""

from __future__ import annotations

import click

from imagen.cli.lazy import Entry, LazyGroup

COMMANDS = {
    "ls": Entry("imagen.cli.jobs.ls:ls", "List jobs, newest first."),
    "show": Entry("imagen.cli.jobs.show:show", "Everything about one job, attempts too."),
    "wait": Entry("imagen.cli.jobs.wait:wait", "Wait until jobs are done; print their paths."),
    "resume": Entry("imagen.cli.jobs.resume:resume", "Draw jobs that were left unfinished."),
    "cancel": Entry("imagen.cli.jobs.cancel:cancel", "Cancel jobs that are not done yet."),
    "retry": Entry("imagen.cli.jobs.retry:retry", "Draw failed or canceled jobs again."),
}


@click.group(cls=LazyGroup, entries=COMMANDS)
def jobs() -> None:
    """List jobs, and wait for, resume, cancel or retry them.

    A job is named by its id or the beginning of it, at least four digits.
    """
