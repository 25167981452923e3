"""``imagen jobs retry``: failed and canceled jobs, on their way again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from imagen.cli.jobs.selection import batch_option, ids_argument, typed_selector
from imagen.cli.options.standard import config_option, json_option, timeout_option
from imagen.cli.shell import Shell

if TYPE_CHECKING:
    from imagen.services.control.job_changes import JobChanges


@click.command(short_help="Draw failed or canceled jobs again.")
@ids_argument
@click.option("--failed", "every", is_flag=True, help="Every failed job of this host.")
@batch_option
@click.option(
    "--output", "-o", default="", metavar="PATH", help="Another file for the image of one job."
)
@timeout_option
@json_option
@config_option
@click.pass_obj
def retry(
    shell: Shell,
    ids: tuple[str, ...],
    every: bool,
    batch: str,
    output: str,
    timeout_s: float | None,
    config: str | None,
) -> None:
    """Put failed and canceled jobs back, draw them, and print the paths of their images.

    A job whose image could not be written goes on from the image; with --output it is written
    elsewhere. With a broker the workers draw, and this prints the ids at once.
    """
    from imagen.cli.draw.run_jobs import job_runner
    from imagen.cli.jobs.run_unfinished import draw_many, draw_named
    from imagen.cli.options.typed_paths import explicit_output
    from imagen.cli.screen.log import set_up_logging
    from imagen.services.control.retry_jobs import (
        redirect_output,
        retry_selected,
        scopes_of,
        wake_for_retried,
    )
    from imagen.services.control.select_jobs import select_jobs
    from imagen.wiring.parts import submit_folders

    selector = typed_selector(ids, batch, every=every, flag="--failed")
    if output and len(ids) != 1:
        raise click.UsageError("--output is for one job: give its id", click.get_current_context())
    set_up_logging(shell)
    with shell.backends(config) as (process, ledger, registry):
        selected = select_jobs(ledger, selector, host=process.host)
        if output:
            path, folders = Path(explicit_output(output)), submit_folders(process, ledger)
            redirect_output(ledger, selected.named[0], path, folders=folders)
        changes = retry_selected(ledger, selected)
        for job in changes.left_alone:
            shell.screen.say(f"job {job.id} is {job.state.value}, so there is nothing to retry")
        if process.has_broker:
            from imagen.wiring.queue_parts import make_queue_publisher

            wake_for_retried(ledger, make_queue_publisher(process, ledger), changes)
            _answer_put_back(shell, changes)
            return
        with job_runner(shell, process, ledger, registry) as runner:
            if selected.named:
                draw_named(runner, [job.id for job in selected.named], timeout_s=timeout_s)
            else:
                scopes = scopes_of([each.job_id for each in changes.changed])
                draw_many(runner, scopes, timeout_s=timeout_s)


def _answer_put_back(shell: Shell, changes: JobChanges) -> None:
    from imagen.cli.jobs.answers import answer_changes

    if not shell.wants_json:
        for each in changes.changed:
            shell.screen.answer_result(str(each.job_id), what="this job is put back")
    answer_changes(shell, changes)
