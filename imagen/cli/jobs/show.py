"""``imagen jobs show``: everything the ledger knows about one job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.options.options import config_option, json_option
from imagen.cli.screen.screen import table
from imagen.cli.setup import completion
from imagen.cli.shell import Shell
from imagen.domain.job import JobState
from imagen.domain.printable import printable
from imagen.domain.secret_names import hide_secrets

if TYPE_CHECKING:
    from imagen.domain.job import Attempt, Job
    from imagen.wiring.bootstrap import Imagen


@click.command(short_help="Everything about one job, attempts too.")
@click.argument("id_", metavar="ID", shell_complete=completion.job_ids)
@json_option
@config_option
@click.pass_obj
def show(shell: Shell, id_: str, config: str | None) -> None:
    """Everything about the job whose id begins with ID: request, state, every attempt."""
    from imagen.cli.screen.log import set_up_logging
    from imagen.domain.scope import Scope
    from imagen.ledger.queries.jobs import find_job
    from imagen.services.report.job_view import view_job
    from imagen.services.sync.unsent import find_unsent

    set_up_logging(shell)
    with shell.imagen(config) as imagen:
        job = find_job(imagen.ledger, id_)
        view = view_job(imagen.ledger, job)
        scope = Scope(job_ids=(job.id,))
        waits_for = _waits_for(imagen, job)
        waiting = find_unsent(imagen.ledger, scope, sends_usage=imagen.sends_usage)
    to_send = {each.sink: each.why or "not tried yet" for each in waiting}
    facts = view.to_json()
    if shell.wants_json:
        # The job's own error is told as such; this command itself did not fail.
        more = {
            "waits_for": waits_for,
            "to_send": to_send,
            "attempts": [_attempt(a) for a in view.attempts],
        }
        shell.screen.answer_json(facts | _more(job) | more)
        return
    for line in _lines(facts, job, view.attempts, to_send, waits_for):
        shell.screen.answer(printable(line))


def _waits_for(imagen: Imagen, job: Job) -> list[str]:
    """Why the backend of a queued job draws nothing now, in sentences."""
    from imagen.ledger.jobs.pauses import paused_backends
    from imagen.services.report.live_workers import describe_outages

    if job.state is not JobState.QUEUED:
        return []
    pause = paused_backends(imagen.ledger).get(job.backend)
    outages = describe_outages(imagen.ledger, within_s=imagen.config.workers.lease_s)
    paused = [] if pause is None else [f"backend {job.backend!r} is paused: {pause}"]
    return [*paused, *outages.get(job.backend, [])]


def _more(job: Job) -> dict[str, Any]:
    """What the ledger knows besides the documented facts."""
    request = job.request
    return {
        "prompt": request.prompt,
        "drawn_prompt": request.styled_prompt,
        "style": request.style,
        "options": hide_secrets(request.options),
        "phase": job.phase.value,
        "queue": job.queue,
        "lane": job.lane.value,
        "batch_id": str(job.batch_id) if job.batch_id else None,
        "position": job.position,
        "caller": job.caller,
        "delivery_host": job.delivery_host,
        "output_folder": job.output.folder,
        "output_name": job.output.name,
        "held_by": job.lease_owner,
        "cancel_requested_at": _iso(job.cancel_requested_at),
        "not_before": _iso(job.not_before),
        "created_at": _iso(job.created_at),
        "started_at": _iso(job.started_at),
        "finished_at": _iso(job.finished_at),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "id": str(attempt.id),
        "number": attempt.number,
        "state": attempt.state.value,
        "backend": attempt.backend,
        "worker": attempt.worker,
        "external_id": attempt.external_id,
        "model": attempt.model,
        "seed": attempt.seed,
        "steps": attempt.steps,
        "cost_usd": float(attempt.cost_usd) if attempt.cost_usd is not None else None,
        "cost_source": attempt.cost_source,
        "latency_ms": attempt.latency_ms,
        "created_at": _iso(attempt.created_at),
        "finished_at": _iso(attempt.finished_at),
        "error": {"code": attempt.error_code, "message": attempt.error_message or "", "hint": ""}
        if attempt.error_code
        else None,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _local(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def _lines(
    facts: dict[str, Any],
    job: Job,
    attempts: Sequence[Attempt],
    to_send: Mapping[str, str],
    waits_for: list[str],
) -> list[str]:
    request = job.request
    told = hide_secrets(request.options)
    options = " ".join(f"{key}={value}" for key, value in told.items())
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
        "waits for": "; ".join(waits_for),
        "waits until": _local(job.not_before) if not job.state.is_terminal else "",
        "usage": f"not sent: {to_send['usage']}" if "usage" in to_send else "",
        "cloud": f"not sent: {to_send['cloud']}" if "cloud" in to_send else "",
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
    """What is drawn, and what was asked for where that is another size."""
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
