"""Everything the ledger knows about one job: its request, its attempts, and what it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from imagen.domain.job import Attempt, JobState
from imagen.domain.scope import Scope
from imagen.domain.secret_names import hide_secrets
from imagen.ledger.jobs.pauses import paused_backends
from imagen.ledger.queries.jobs import find_job
from imagen.ledger.store.engine import Ledger
from imagen.services.report.job_view import JobView, view_job
from imagen.services.report.live_workers import describe_outages
from imagen.services.sync.unsent import find_unsent


@dataclass(frozen=True, slots=True)
class JobDetails:
    """A job with all that is known about it.

    ``waits_for`` says in sentences why its backend draws nothing now, ``to_send`` by sink why
    something has not left the ledger yet.
    """

    view: JobView
    waits_for: tuple[str, ...]
    to_send: Mapping[str, str]

    @property
    def options(self) -> dict[str, Any]:
        """The options of the request, secrets hidden."""
        return hide_secrets(self.view.job.request.options)

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        job, request = self.view.job, self.view.job.request
        return self.view.to_json() | {
            "prompt": request.prompt,
            "drawn_prompt": request.styled_prompt,
            "style": request.style,
            "options": self.options,
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
            "waits_for": list(self.waits_for),
            "to_send": dict(self.to_send),
            "attempts": [_attempt(each) for each in self.view.attempts],
        }


def job_details(ledger: Ledger, prefix: str, *, sends_usage: bool, lease_s: float) -> JobDetails:
    """The details of the one job whose id begins with ``prefix``.

    Raises:
        RequestError: no job, or more than one, begins so.
        LedgerError: the ledger is away.
    """
    job = find_job(ledger, prefix)
    unsent = find_unsent(ledger, Scope(job_ids=(job.id,)), sends_usage=sends_usage)
    is_waiting = job.state is JobState.QUEUED
    return JobDetails(
        view_job(ledger, job),
        tuple(_waits_for(ledger, job.backend, lease_s=lease_s)) if is_waiting else (),
        {each.sink: each.why or "not tried yet" for each in unsent},
    )


def _waits_for(ledger: Ledger, backend: str, *, lease_s: float) -> list[str]:
    pause = paused_backends(ledger).get(backend)
    paused = [] if pause is None else [f"backend {backend!r} is paused: {pause}"]
    return [*paused, *describe_outages(ledger, within_s=lease_s).get(backend, [])]


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
