"""``imagen jobs wait``: until other processes have drawn them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import click

from imagen.cli.jobs.selection import ids_argument
from imagen.cli.options.options import config_option, json_option, timeout_option
from imagen.cli.shell import Shell

if TYPE_CHECKING:
    from imagen.domain.scope import Scope
    from imagen.wiring.bootstrap import Imagen


@click.command(short_help="Wait until jobs are done; print their paths.")
@ids_argument
@timeout_option
@json_option
@config_option
@click.pass_obj
def wait(shell: Shell, ids: tuple[str, ...], timeout_s: float | None, config: str | None) -> None:
    """Wait until the jobs are done, and print the path of each image.

    Draws nothing here: without a broker that is what `imagen jobs resume` is for.
    """
    from imagen.cli.draw.running import Watch, go_on_hint, run_jobs
    from imagen.cli.jobs.answers import answer_named
    from imagen.cli.screen.log import set_up_logging
    from imagen.services.control.outcome import named_outcome
    from imagen.services.control.select_jobs import JobSelector, select_jobs

    if not ids:
        raise click.UsageError("give at least one job id", ctx=click.get_current_context())
    set_up_logging(shell)
    with shell.imagen(config) as imagen:
        host = imagen.host if imagen.has_broker else None
        selected = select_jobs(imagen.ledger, JobSelector(ids), host=host)
        job_ids = [job.id for job in selected.named]
        hint = shell.interrupt.how_to_go_on = go_on_hint(imagen, job_ids)
        watch = Watch(shell)
        if imagen.has_broker:
            run_jobs(shell, imagen, selected.scope, watch=watch, timeout_s=timeout_s)
        else:
            _wait(shell, imagen, selected.scope, timeout_s=timeout_s, hint=hint)
        outcome = named_outcome(imagen.ledger, job_ids, errors=watch.errors, hint=hint)
    answer_named(shell, outcome)


def _wait(
    shell: Shell, imagen: Imagen, scope: Scope, *, timeout_s: float | None, hint: str
) -> None:
    """Look at the rows until all are done: another process draws them, if any does."""
    from imagen.services.follow.wait_for_jobs import wait_for_jobs

    def tell_unattended() -> None:
        shell.screen.say(f"no process draws them now; {hint}, or start: imagen worker")

    stop = threading.Event()
    with shell.interrupt.stopping(stop.set):
        wait_for_jobs(
            imagen.ledger,
            scope,
            stop=stop,
            timeout_s=timeout_s,
            lease_s=imagen.config.workers.lease_s,
            on_unattended=tell_unattended,
        )
