"""``imagen jobs ls``: a table of jobs, newest first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from imagen.cli.jobs.selection import batch_option
from imagen.cli.options.standard import config_option, json_option
from imagen.cli.options.typed_values import parse_since
from imagen.cli.screen.durations import age
from imagen.cli.screen.screen import Screen
from imagen.cli.screen.text_tables import clip, table, width_of
from imagen.cli.setup import completion
from imagen.cli.shell import Shell
from imagen.domain.printable import printable

if TYPE_CHECKING:
    from imagen.domain.job import Job

_STATES = ("queued", "running", "generated", "succeeded", "failed", "canceled")
_COLOURS = {
    "queued": "dim",
    "running": "cyan",
    "generated": "cyan",
    "succeeded": "green",
    "failed": "red",
    "canceled": "yellow",
}
_HEADER = ("ID", "STATE", "BACKEND", "SIZE", "AGE", "PROMPT", "RESULT")
#: The least widths at which these columns are still useful.
_LEAST_RESULT_COLUMNS = 30
_LEAST_PROMPT_COLUMNS = 12


@click.command(short_help="List jobs, newest first.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(_STATES),
    help="Only jobs in this state; may be repeated.",
)
@click.option(
    "--backend",
    metavar="NAME",
    shell_complete=completion.backend_names,
    help="Only jobs of this backend.",
)
@batch_option
@click.option(
    "--since",
    metavar="WHEN",
    default="",
    help="Only jobs submitted since: 2h, 7d, 2026-11-20.",
)
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="At most so many.",
)
@json_option
@config_option
@click.pass_obj
def ls(
    shell: Shell,
    states: tuple[str, ...],
    backend: str | None,
    batch: str,
    since: str,
    limit: int,
    config: str | None,
) -> None:
    """List jobs, newest first."""
    from imagen.cli.screen.log import set_up_logging
    from imagen.domain.job import JobState
    from imagen.services.report.job_list import newest_jobs
    from imagen.services.report.job_view import view_job

    now = datetime.now(UTC)
    set_up_logging(shell)
    with shell.ledger(config) as (_, ledger):
        found = newest_jobs(
            ledger,
            limit=limit,
            states=tuple(JobState(state) for state in states),
            backend=backend or "",
            batch=batch,
            since=parse_since(since, now=now) if since else None,
        )
        if shell.wants_json:
            facts = [view_job(ledger, job).to_json() for job in found.jobs]
            shell.screen.answer_json({"jobs": facts, "error": None})
            return
    for line in _lines(shell.screen, found.jobs, now):
        shell.screen.answer(line)
    if not found.jobs:
        shell.screen.say("no jobs")
    elif found.is_cut:
        shell.screen.say(f"… and more; see them with --limit {limit * 5}")


def _lines(screen: Screen, shown: Sequence[Job], now: datetime) -> list[str]:
    from imagen.cli.screen.text_tables import short_ids

    if not shown:
        return []
    shorts = short_ids(job.id for job in shown)
    rows = [_row(job, shorts[job.id], now) for job in shown]
    lines = table(_HEADER, rows)
    if screen.out.isatty():
        lines = _fitted(rows, columns=shutil.get_terminal_size().columns)
    head, *body = lines
    return [
        screen.paint_answer(head, "dim"),
        *(_painted(screen, line, job) for line, job in zip(body, shown, strict=True)),
    ]


def _row(job: Job, short_id: str, now: datetime) -> tuple[str, ...]:
    from imagen.output.naming import slugify

    return (
        short_id,
        job.state.value,
        job.backend,
        str(job.request.size),
        age(job.created_at, now),
        slugify(job.request.prompt, max_chars=32),
        _result(job),
    )


def _result(job: Job) -> str:
    if job.error_message:
        return printable(job.error_message.replace("\n", " "))
    if job.state.value == "succeeded" and job.output_path:
        return _seen_from_here(job.output_path)
    return ""


def _seen_from_here(path: str) -> str:
    """The path, relative when it is below the working directory."""
    here = os.getcwd() + os.sep
    return path.removeprefix(here)


def _fitted(rows: Sequence[tuple[str, ...]], *, columns: int) -> list[str]:
    """The table in so many columns of text: clips the result first, then the prompt, then lines."""
    *others, prompts, results = (
        max(width_of(row[column]) for row in (_HEADER, *rows)) for column in range(len(_HEADER))
    )
    room = columns - sum(others) - 2 * (len(_HEADER) - 1)
    for_result = min(results, max(_LEAST_RESULT_COLUMNS, room - prompts))
    for_prompt = min(prompts, max(_LEAST_PROMPT_COLUMNS, room - for_result))
    clipped = [(*row[:-2], clip(row[-2], for_prompt), clip(row[-1], for_result)) for row in rows]
    return [clip(line, columns) for line in table(_HEADER, clipped)]


def _painted(screen: Screen, line: str, job: Job) -> str:
    state = job.state.value
    return line.replace(f" {state} ", f" {screen.paint_answer(state, _COLOURS[state])} ", 1)
