"""Which jobs a command means, as typed: ids, a batch, or all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagen.cli.setup import completion

if TYPE_CHECKING:
    from imagen.services.control.select_jobs import JobSelector

ids_argument = click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=completion.job_ids)
batch_option = click.option(
    "--batch",
    default="",
    metavar="NAME",
    shell_complete=completion.batch_names,
    help="The jobs of this batch.",
)


def typed_selector(ids: tuple[str, ...], batch: str, *, every: bool, flag: str) -> JobSelector:
    """What was typed; ``flag`` is the option that means all jobs.

    Raises:
        click.UsageError: jobs are not named in exactly one way.
    """
    from imagen.services.control.select_jobs import JobSelector

    selector = JobSelector(ids, batch, every)
    if not selector.is_valid:
        what = "give only one of" if ids or batch or every else "give one of"
        raise click.UsageError(
            f"{what}: job ids, {flag}, --batch NAME", ctx=click.get_current_context()
        )
    return selector
