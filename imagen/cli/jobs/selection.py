"""Which jobs a command means: ids, a batch, or all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imagen.cli.setup import completion
from imagen.errors import RequestError

if TYPE_CHECKING:
    from imagen.domain.job import Job
    from imagen.domain.scope import Scope
    from imagen.wiring.bootstrap import Imagen

Function = TypeVar("Function", bound=Callable[..., Any])

ids_argument = click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=completion.job_ids)
batch_option = click.option(
    "--batch",
    default="",
    metavar="NAME",
    shell_complete=completion.batch_names,
    help="The jobs of this batch.",
)


def require_one_way(ids: Sequence[str], batch: str, *, every: bool, flag: str) -> None:
    """Nothing, where jobs are named in exactly one way.

    Raises:
        click.UsageError: in none, or in several.
    """
    ways = sum((bool(ids), bool(batch), every))
    if ways != 1:
        what = "give one of" if ways == 0 else "give only one of"
        raise click.UsageError(
            f"{what}: job ids, {flag}, --batch NAME", ctx=click.get_current_context()
        )


def named_jobs(imagen: Imagen, ids: Sequence[str]) -> list[Job]:
    """The jobs that the ids, or beginnings of ids, name; each once, in that order.

    Raises:
        RequestError: one of them names no job, or several.
    """
    from imagen.ledger.queries.jobs import find_job

    found = [find_job(imagen.ledger, prefix) for prefix in ids]
    return list({job.id: job for job in found}.values())


def scope_of(imagen: Imagen, batch: str) -> Scope:
    """The jobs of a batch, or all: what this host has to deliver of them.

    Raises:
        RequestError: there is no such batch.
    """
    from imagen.domain.scope import Scope
    from imagen.ledger.queries.batches import find_batch

    if batch:
        found = find_batch(imagen.ledger, batch)
        return Scope(batch_id=found.id, delivery_host=imagen.host)
    return Scope(delivery_host=imagen.host)


def require_ours(imagen: Imagen, jobs: Sequence[Job]) -> None:
    """Nothing, where this host delivers all of these jobs.

    Raises:
        RequestError: one of them belongs on another host, and would be waited for in vain.
    """
    for job in jobs:
        if job.delivery_host != imagen.host and not job.state.is_terminal:
            raise RequestError(
                f"job {job.id} is delivered on host {job.delivery_host!r}, not on {imagen.host!r}",
                "run it there; or, if that is an old name of this machine, with"
                f" IMAGEN_HOST={job.delivery_host}",
            )
