"""``imagen jobs wait``: until other processes have drawn them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import click

from imagen.cli.jobs.selection import ids_argument
from imagen.cli.options.standard import config_option, json_option, timeout_option
from imagen.cli.shell import Shell

if TYPE_CHECKING:
    from imagen.domain.scope import Scope
    from imagen.wiring.parts import Ledger
    from imagen.wiring.process import Process


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
    from imagen.cli.draw.job_messages import JobMessages
    from imagen.cli.draw.run_jobs import go_on_hint, job_runner
    from imagen.cli.jobs.answers import answer_named
    from imagen.cli.screen.log import set_up_logging
    from imagen.services.control.jobs_outcome import named_outcome
    from imagen.services.control.select_jobs import JobSelector, select_jobs

    if not ids:
        raise click.UsageError("give at least one job id", ctx=click.get_current_context())
    set_up_logging(shell)
    with shell.backends(config) as (process, ledger, registry):
        host = process.host if process.has_broker else None
        selected = select_jobs(ledger, JobSelector(ids), host=host)
        job_ids = [job.id for job in selected.named]
        hint = shell.interrupt.how_to_go_on = go_on_hint(process, job_ids)
        messages = JobMessages(shell.screen)
        if process.has_broker:
            with job_runner(shell, process, ledger, registry) as runner:
                runner.run(selected.scope, messages, timeout_s=timeout_s)
        else:
            _wait(shell, process, ledger, selected.scope, timeout_s=timeout_s, hint=hint)
        outcome = named_outcome(ledger, job_ids, errors=messages.errors, hint=hint)
    answer_named(shell, outcome)


def _wait(
    shell: Shell,
    process: Process,
    ledger: Ledger,
    scope: Scope,
    *,
    timeout_s: float | None,
    hint: str,
) -> None:
    """Look at the rows until all are done: another process draws them, if any does."""
    from imagen.services.follow.wait_for_jobs import wait_for_jobs

    def tell_unattended() -> None:
        shell.screen.say(f"no process draws them now; {hint}, or start: imagen worker")

    stop = threading.Event()
    with shell.interrupt.stopping(stop.set):
        wait_for_jobs(
            ledger,
            scope,
            stop=stop,
            timeout_s=timeout_s,
            lease_s=process.config.workers.lease_s,
            on_unattended=tell_unattended,
        )
