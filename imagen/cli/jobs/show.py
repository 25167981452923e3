"""``imagen jobs show``: everything the ledger knows about one job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.options.standard import config_option, json_option
from imagen.cli.screen.text_tables import table
from imagen.cli.setup import completion
from imagen.cli.shell import Shell
from imagen.domain.printable import printable

if TYPE_CHECKING:
    from imagen.domain.job import Attempt, Job
    from imagen.services.report.job_details import JobDetails


@click.command(short_help="Everything about one job, attempts too.")
@click.argument("id_", metavar="ID", shell_complete=completion.job_ids)
@json_option
@config_option
@click.pass_obj
def show(shell: Shell, id_: str, config: str | None) -> None:
    """Everything about the job whose id begins with ID: request, state, every attempt."""
    from imagen.cli.screen.log import set_up_logging
    from imagen.services.report.job_details import job_details

    set_up_logging(shell)
    with shell.ledger(config) as (process, ledger):
        lease_s = process.config.workers.lease_s
        details = job_details(ledger, id_, sends_usage=process.sends_usage, lease_s=lease_s)
    if shell.wants_json:
        # The error in it is the job's own; this command did not fail.
        shell.screen.answer_json(details.to_json())
        return
    for line in _lines(details):
        shell.screen.answer(printable(line))


def _local(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def _lines(details: JobDetails) -> list[str]:
    job, request, facts = details.view.job, details.view.job.request, details.view.to_json()
    options = " ".join(f"{key}={value}" for key, value in details.options.items())
    attempts = details.view.attempts
    values = {
        "id": facts["id"],
        "state": job.state.value + (", canceled soon" if _is_being_canceled(job) else ""),
        "error": f"{job.error_message} [{job.error_code}]" if job.error_message else "",
        "path": facts["path"],
        "sidecar": facts["sidecar"],
        "prompt": request.prompt,
        "drawn as": request.styled_prompt if request.styled_prompt != request.prompt else "",
        "negative": facts["negative"],
        "style": request.style,
        "size": _size(facts),
        "seed": facts["seed"],
        "steps": facts["steps"],
        "options": options,
        "backend": job.backend,
        "model": facts["model"],
        "warnings": "; ".join(facts["warnings"]),
        "cost": None if facts["cost_usd"] is None else f"${facts['cost_usd']:.4g}",
        "folder": job.output.folder if not facts["path"] else "",
        "batch": f"{job.batch_id}, row {job.position}" if job.batch_id else "",
        "caller": job.caller,
        "host": job.delivery_host,
        "held by": job.lease_owner,
        "waits for": "; ".join(details.waits_for),
        "waits until": _local(job.not_before) if not job.state.is_terminal else "",
        **{sink: f"not sent: {why}" for sink, why in sorted(details.to_send.items(), reverse=True)},
        "submitted": _local(job.created_at),
        "finished": _local(job.finished_at),
    }
    shown = {name: value for name, value in values.items() if value not in (None, "")}
    width = max(map(len, shown))
    # Further lines of a value are indented, so that none of them passes for a value of its own.
    indent = "\n" + " " * (width + 2)
    texts = {name: str(value).replace("\n", indent) for name, value in shown.items()}
    lines = [f"{name:<{width}}  {text}" for name, text in texts.items()]
    return [*lines, "", *_attempt_lines(attempts)] if attempts else lines


def _size(facts: Mapping[str, Any]) -> str:
    """The size that is drawn, with the requested one where it differs."""
    size = f"{facts['width']}x{facts['height']}"
    asked = facts["requested_size"]
    return size if asked == size else f"{size}, asked for {asked}"


def _is_being_canceled(job: Job) -> bool:
    return job.cancel_requested_at is not None and not job.state.is_terminal


def _attempt_lines(attempts: Sequence[Attempt]) -> list[str]:
    rows = [
        (
            str(attempt.number),
            attempt.state.value,
            attempt.backend,
            f"{attempt.latency_ms / 1000:.1f} s" if attempt.latency_ms is not None else "",
            _local(attempt.created_at),
            attempt.external_id or "",
            (attempt.error_message or "").replace("\n", " "),
        )
        for attempt in attempts
    ]
    return table(("ATTEMPT", "STATE", "BACKEND", "TOOK", "BEGUN", "EXTERNAL ID", "ERROR"), rows)
