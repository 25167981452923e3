"""``imagen jobs wait``: until somebody else has drawn them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import click

from imagen.cli.jobs.selection import ids_argument, named_jobs, require_ours
from imagen.cli.options.options import config_option, json_option, timeout_option
from imagen.cli.shell import Shell

if TYPE_CHECKING:
    from imagen.domain.scope import Scope
    from imagen.wiring.bootstrap import Imagen

_FIRST_LOOK_S = 0.25
_LAST_LOOK_S = 1.0
#: How long a job may wait unheld before it is said that nobody may be there to draw it.
_PATIENCE_S = 5.0


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
    from imagen.cli.jobs.answers import answer_jobs
    from imagen.cli.screen.log import set_up_logging
    from imagen.domain.scope import Scope

    if not ids:
        raise click.UsageError("give at least one job id", ctx=click.get_current_context())
    set_up_logging(shell)
    with shell.imagen(config) as imagen:
        jobs = named_jobs(imagen, ids)
        job_ids = [job.id for job in jobs]
        scope = Scope(job_ids=tuple(job_ids))
        shell.interrupt.how_to_go_on = go_on_hint(imagen, job_ids)
        watch = Watch(shell)
        if imagen.has_broker:
            require_ours(imagen, jobs)
            run_jobs(shell, imagen, scope, watch=watch, timeout_s=timeout_s)
        else:
            _look_on(shell, imagen, scope, job_ids, timeout_s=timeout_s)
        answer_jobs(shell, imagen, job_ids, errors=watch.errors, hint=shell.interrupt.how_to_go_on)


def _look_on(
    shell: Shell, imagen: Imagen, scope: Scope, ids: Sequence[UUID], *, timeout_s: float | None
) -> None:
    """Look at the rows until all are done: another process draws them, if any does."""
    from imagen.cli.draw.running import go_on_hint
    from imagen.ledger.queries.unfinished_jobs import has_unfinished

    began_s = time.monotonic()
    look_s = _FIRST_LOOK_S
    has_told = False
    while has_unfinished(imagen.ledger, scope):
        waited_s = time.monotonic() - began_s
        if timeout_s is not None and waited_s >= timeout_s:
            return
        if waited_s > _PATIENCE_S and not has_told:
            has_told = True
            _tell_if_unattended(shell, imagen, ids, go_on_hint(imagen, ids))
        time.sleep(look_s if timeout_s is None else min(look_s, max(0.0, timeout_s - waited_s)))
        look_s = min(_LAST_LOOK_S, look_s * 1.5)


def _tell_if_unattended(shell: Shell, imagen: Imagen, ids: Sequence[UUID], hint: str) -> None:
    from imagen.ledger.jobs.worker_rows import live_workers
    from imagen.ledger.queries.jobs import get_job

    jobs = [get_job(imagen.ledger, each) for each in ids]
    is_held = any(job is not None and job.lease_owner is not None for job in jobs)
    if not is_held and not live_workers(imagen.ledger, within_s=imagen.config.workers.lease_s):
        shell.screen.say(f"nobody draws them now; {hint}, or start: imagen worker")
