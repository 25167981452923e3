"""``imagen jobs cancel``: what is not drawn yet is not drawn any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagen.cli.jobs.selection import batch_option, ids_argument, typed_selector
from imagen.cli.options.standard import config_option, json_option
from imagen.cli.shell import Shell

if TYPE_CHECKING:
    from imagen.errors import ImagenError
    from imagen.services.control.job_changes import JobChanges

#: More lines than this would scroll away what matters.
_MOST_NAMED = 100


@click.command(short_help="Cancel jobs that are not done yet.")
@ids_argument
@click.option("--all", "every", is_flag=True, help="Every job that is not done yet.")
@batch_option
@json_option
@config_option
@click.pass_obj
def cancel(shell: Shell, ids: tuple[str, ...], every: bool, batch: str, config: str | None) -> None:
    """Cancel jobs; prints each with its state now.

    Waiting ones end at once. A running one is told, and its backend is stopped; that may take a
    few seconds. What a stopped command left at a backend is canceled there. What is done stays
    done.
    """
    from imagen.cli.jobs.answers import answer_changes
    from imagen.cli.screen.log import set_up_logging
    from imagen.services.control.select_jobs import select_jobs
    from imagen.wiring.cancel_selected import cancel_selected

    selector = typed_selector(ids, batch, every=every, flag="--all")
    set_up_logging(shell)
    with shell.ledger(config) as (process, ledger):
        changes = cancel_selected(process, ledger, select_jobs(ledger, selector))
    for job in changes.left_alone:
        shell.screen.say(f"job {job.id} is {job.state.value} already")
    if not changes.changed and not changes.left_alone:
        shell.screen.say("nothing to cancel")
    if not shell.wants_json:
        _print(shell, changes)
    answer_changes(shell, changes, _failure(changes))


def _print(shell: Shell, changes: JobChanges) -> None:
    for each in changes.changed[:_MOST_NAMED]:
        shell.screen.answer(f"{each.job_id} {each.state.value}")
    if len(changes.changed) > _MOST_NAMED:
        shell.screen.say(f"… and {len(changes.changed) - _MOST_NAMED:,} more")
    is_over = all(each.state.is_terminal for each in changes.changed)
    if not is_over and not changes.failed:
        shell.screen.say("those that are not canceled yet end when their worker hears of it")


def _failure(changes: JobChanges) -> ImagenError | None:
    if not changes.failed:
        return None
    first = changes.failed[0]
    assert first.error is not None, "failed ones have an error"
    others = f" (and {len(changes.failed) - 1:,} more)" if len(changes.failed) > 1 else ""
    return type(first.error)(
        f"job {first.job_id} is not canceled{others}: {first.error.message}",
        f"it may go on there; try again: imagen jobs cancel {first.job_id}",
    )
