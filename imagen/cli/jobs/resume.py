"""``imagen jobs resume``: what a killed, stopped or timed-out command left, drawn here."""

from __future__ import annotations

import click

from imagen.cli.jobs.selection import batch_option, ids_argument, typed_selector
from imagen.cli.options.standard import config_option, json_option, timeout_option
from imagen.cli.shell import Shell


@click.command(short_help="Draw jobs that were left unfinished.")
@ids_argument
@click.option("--all", "every", is_flag=True, help="Every unfinished job of this host.")
@batch_option
@timeout_option
@json_option
@config_option
@click.pass_obj
def resume(
    shell: Shell,
    ids: tuple[str, ...],
    every: bool,
    batch: str,
    timeout_s: float | None,
    config: str | None,
) -> None:
    """Draw and deliver unfinished jobs here, and print the paths of their images.

    What a backend was already working on is taken up there, not drawn twice. With a broker the
    workers draw, and this waits.
    """
    from imagen.cli.draw.run_jobs import job_runner
    from imagen.cli.jobs.run_unfinished import draw_many, draw_named
    from imagen.cli.screen.log import set_up_logging
    from imagen.services.control.select_jobs import select_jobs

    selector = typed_selector(ids, batch, every=every, flag="--all")
    set_up_logging(shell)
    with shell.backends(config) as (process, ledger, registry):
        selected = select_jobs(ledger, selector, host=process.host)
        with job_runner(shell, process, ledger, registry) as runner:
            if selected.named:
                draw_named(runner, [job.id for job in selected.named], timeout_s=timeout_s)
            else:
                draw_many(runner, [selected.scope], timeout_s=timeout_s)
