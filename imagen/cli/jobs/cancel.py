"""``imagen jobs cancel``: what is not drawn yet is not drawn any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import click

from imagen.cli.jobs.selection import (
    batch_option,
    ids_argument,
    named_jobs,
    require_one_way,
)
from imagen.cli.options.options import config_option, json_option
from imagen.cli.shell import Failed, Shell

if TYPE_CHECKING:
    from imagen.domain.job import JobState
    from imagen.domain.scope import Scope
    from imagen.errors import ImagenError
    from imagen.wiring.bootstrap import Imagen

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
    few seconds. What a stopped command left at a
    backend is canceled there. What is done stays done.
    """
    from imagen.cli.screen.log import set_up_logging

    require_one_way(ids, batch, every=every, flag="--all")
    set_up_logging(shell)
    with shell.imagen(config) as imagen:
        jobs = named_jobs(imagen, ids)
        told, errors = _cancel(imagen, _scope(imagen, [job.id for job in jobs], batch))
    for job in jobs:
        if job.id not in told:
            shell.screen.say(f"job {job.id} is {job.state.value} already")
    if not told and not jobs:
        shell.screen.say("nothing to cancel")
    failure = _failure(errors)
    if shell.wants_json:
        answered = [{"id": str(id_), "state": state.value} for id_, state in told.items()]
        if failure is not None:
            raise Failed(failure, {"jobs": answered})
        shell.screen.answer_json({"jobs": answered, "error": None})
        return
    for id_, state in list(told.items())[:_MOST_NAMED]:
        shell.screen.answer(f"{id_} {state.value}")
    if len(told) > _MOST_NAMED:
        shell.screen.say(f"… and {len(told) - _MOST_NAMED:,} more")
    if failure is not None:
        raise Failed(failure)
    if any(not state.is_terminal for state in told.values()):
        shell.screen.say("those that are not canceled yet end when their worker hears of it")


def _cancel(
    imagen: Imagen, scope: Scope
) -> tuple[Mapping[UUID, JobState], Mapping[UUID, ImagenError]]:
    """What each job is now, and why some could not be canceled at their backends."""
    if not imagen.has_broker:
        return imagen.canceler().cancel(scope)
    from imagen.cli.draw.running import wake_workers
    from imagen.domain.job import JobState
    from imagen.ledger.jobs.control import request_cancel
    from imagen.ledger.queries.jobs import get_job

    told = request_cancel(imagen.ledger, scope)
    imagen.queue_publisher.announce_cancel()
    # What a backend has and no worker holds is canceled there by the worker that claims it.
    held_by_none = [id_ for id_, state in told.items() if state is JobState.QUEUED]
    wake_workers(imagen, [job for id_ in held_by_none if (job := get_job(imagen.ledger, id_))])
    return told, {}


def _failure(errors: Mapping[UUID, ImagenError]) -> ImagenError | None:
    if not errors:
        return None
    job_id, error = next(iter(errors.items()))
    others = f" (and {len(errors) - 1:,} more)" if len(errors) > 1 else ""
    return type(error)(
        f"job {job_id} is not canceled{others}: {error.message}",
        f"it may go on there; try again: imagen jobs cancel {job_id}",
    )


def _scope(imagen: Imagen, ids: Sequence[UUID], batch: str) -> Scope:
    from imagen.domain.scope import EVERYTHING, Scope
    from imagen.ledger.queries.batches import find_batch

    if ids:
        return Scope(job_ids=tuple(ids))
    return Scope(batch_id=find_batch(imagen.ledger, batch).id) if batch else EVERYTHING
