"""``imagen jobs retry``: failed and canceled jobs, on their way again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import click

from imagen.cli.jobs.selection import (
    batch_option,
    ids_argument,
    named_jobs,
    require_one_way,
    require_ours,
    scope_of,
)
from imagen.cli.options.options import config_option, json_option, timeout_option
from imagen.cli.shell import Shell

if TYPE_CHECKING:
    from imagen.domain.scope import Scope
    from imagen.wiring.bootstrap import Imagen

#: SQLite takes at most 32,766 values in a statement, and long lists make every claim slow.
_CHUNK = 500


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
    from imagen.cli.jobs.run_unfinished import draw_many, draw_named
    from imagen.cli.screen.log import set_up_logging

    require_one_way(ids, batch, every=every, flag="--failed")
    if output and len(ids) != 1:
        raise click.UsageError("--output is for one job: give its id", click.get_current_context())
    set_up_logging(shell)
    with shell.imagen(config) as imagen:
        chosen = _named(shell, imagen, ids) if ids else _ended(imagen, batch)
        if output:
            _redirect(imagen, chosen[0], output)
        scopes = _chunks(chosen)
        _put_back(imagen, scopes)
        if imagen.has_broker:
            _answer_put_back(shell, imagen, chosen, scopes)
        elif ids:
            draw_named(shell, imagen, chosen, timeout_s=timeout_s)
        else:
            draw_many(shell, imagen, scopes, timeout_s=timeout_s)


def _named(shell: Shell, imagen: Imagen, ids: Sequence[str]) -> list[UUID]:
    from imagen.domain.job import JobState

    jobs = named_jobs(imagen, ids)
    require_ours(imagen, jobs)
    for job in jobs:
        if job.state not in (JobState.FAILED, JobState.CANCELED):
            shell.screen.say(f"job {job.id} is {job.state.value}, so there is nothing to retry")
    return [job.id for job in jobs]


def _redirect(imagen: Imagen, job_id: UUID, text: str) -> None:
    """Give the job another file to write.

    Raises:
        RequestError: an image cannot be written there, or the job has not ended without one.
    """
    from dataclasses import replace
    from pathlib import Path

    from imagen.cli.options.paths import explicit_output
    from imagen.domain.request import FORMAT_BY_SUFFIX
    from imagen.errors import RequestError
    from imagen.ledger.jobs.control import redirect_job
    from imagen.ledger.queries.jobs import get_job
    from imagen.output.paths import check_length

    path = Path(explicit_output(text))
    job = get_job(imagen.ledger, job_id)
    assert job is not None, "a job is never removed"
    check_length(path, sidecar=job.output.sidecar)
    output = replace(job.output, folder=str(path.parent), name=path.name, replace=True)
    image_format = FORMAT_BY_SUFFIX[path.suffix.lower()]
    if not redirect_job(imagen.ledger, job_id, output, image_format=image_format):
        raise RequestError(
            f"job {job_id} is {job.state.value}; --output is for a failed or canceled one",
            f"imagen jobs show {job_id}",
        )


def _ended(imagen: Imagen, batch: str) -> list[UUID]:
    """The failed jobs of this host; of a batch, the canceled ones as well."""
    from imagen.domain.job import JobState
    from imagen.ledger.queries.jobs import jobs_in

    states = [JobState.FAILED, JobState.CANCELED] if batch else [JobState.FAILED]
    scope = scope_of(imagen, batch)
    return [job.id for job in jobs_in(imagen.ledger, scope, states=states)]


def _chunks(ids: Sequence[UUID]) -> list[Scope]:
    from imagen.domain.scope import Scope

    return [
        Scope(job_ids=tuple(ids[start : start + _CHUNK])) for start in range(0, len(ids), _CHUNK)
    ]


def _put_back(imagen: Imagen, scopes: Sequence[Scope]) -> None:
    from imagen.ledger.jobs.control import retry_jobs

    for scope in scopes:
        retry_jobs(imagen.ledger, scope)


def _answer_put_back(
    shell: Shell, imagen: Imagen, ids: Sequence[UUID], scopes: Sequence[Scope]
) -> None:
    from imagen.cli.draw.running import wake_workers
    from imagen.domain.job import JobState
    from imagen.ledger.queries.jobs import jobs_in

    for scope in scopes:
        wake_workers(imagen, list(jobs_in(imagen.ledger, scope, states=[JobState.QUEUED])))
    if shell.wants_json:
        answered = [{"id": str(each), "state": "queued"} for each in ids]
        shell.screen.answer_json({"jobs": answered, "error": None})
        return
    for each in ids:
        shell.screen.answer_result(str(each), what="this job is put back")
