"""How the commands of ``imagen jobs`` answer: paths, facts, and an exit code for several jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from imagen.cli.draw.running import tell_warnings
from imagen.cli.screen.job_answer import error_of, job_facts
from imagen.cli.shell import Failed, Shell
from imagen.domain.job import Job, JobState
from imagen.domain.printable import printable_line
from imagen.errors import GaveUpWaiting, ImagenError
from imagen.ledger.queries.jobs import attempts_of, get_job

if TYPE_CHECKING:
    from imagen.cli.screen.progress import Count
    from imagen.ledger.store.engine import Ledger
    from imagen.wiring.bootstrap import Imagen

EXIT_SOME_FAILED = 4


def facts_of(ledger: Ledger, job: Job, *, error: ImagenError | None = None) -> dict[str, Any]:
    """The documented keys about a job."""
    return job_facts(job, attempts_of(ledger, job.id), error=error)


def answer_jobs(
    shell: Shell,
    imagen: Imagen,
    ids: Sequence[UUID],
    *,
    errors: Mapping[UUID, ImagenError],
    hint: str,
) -> None:
    """The paths of these jobs, in their order, or with ``--json`` everything about them.

    ``hint`` is for those that are not done yet; ``errors`` are better than what the ledger kept.

    Raises:
        Failed: some have no image; a single one ends with its own error.
    """
    jobs = [job for job in (get_job(imagen.ledger, each) for each in ids) if job is not None]
    troubles: dict[UUID, ImagenError] = {}
    for job in jobs:
        error = errors.get(job.id) or error_of(job)
        if error is None and job.state is not JobState.SUCCEEDED:
            error = GaveUpWaiting(
                f"gave up waiting for job {job.id}, which is {job.state.value}", hint
            )
        if error is not None and job.state is not JobState.SUCCEEDED:
            troubles[job.id] = error
        elif not shell.wants_json:
            shell.screen.answer_result(str(job.output_path), what="the image is there")
    if not troubles:
        shell.interrupt.how_to_go_on = ""
    each_facts = [facts_of(imagen.ledger, job, error=troubles.get(job.id)) for job in jobs]
    tell_warnings(shell, Counter(told for each in each_facts for told in each["warnings"]))
    facts: dict[str, Any] = {"jobs": each_facts} if shell.wants_json else {}
    if troubles:
        raise _failed(shell, jobs, troubles, facts)
    if shell.wants_json:
        shell.screen.answer_json(facts | {"error": None})


def _failed(
    shell: Shell, jobs: Sequence[Job], troubles: Mapping[UUID, ImagenError], facts: dict[str, Any]
) -> Failed:
    if len(jobs) == 1:
        (error,) = troubles.values()
        return Failed(error, facts)
    for job_id, error in troubles.items():
        shell.screen.say(f"  job {job_id}: {printable_line(error.message)}")
    late = [error for error in troubles.values() if isinstance(error, GaveUpWaiting)]
    if late:
        waiting = GaveUpWaiting(f"{len(late)} of {len(jobs)} jobs are not done yet", late[0].hint)
        return Failed(waiting, facts)
    error = ImagenError(
        f"{len(troubles)} of {len(jobs)} jobs have no image",
        "draw failed ones again with: imagen jobs retry ID …",
    )
    return Failed(error, facts, exit_code=EXIT_SOME_FAILED)


def answer_count(
    shell: Shell,
    count: Count,
    *,
    warnings: Mapping[str, int],
    left: int,
    seconds: float,
    hint: str,
) -> None:
    """The figures of a run over many jobs.

    Raises:
        Failed: some failed or were canceled, or some are left.
    """
    facts = {
        "drawn": count.drawn,
        "failed": count.failed,
        "canceled": count.canceled,
        "left": left,
        "seconds": round(seconds, 3),
        "warnings": dict(warnings),
    }
    if left:
        raise Failed(GaveUpWaiting(f"{left:,} jobs are not done yet", hint), facts)
    if count.without_image:
        state = "failed" if count.failed else "canceled"
        error = ImagenError(f"jobs: {count.without_image}", f"imagen jobs ls --state {state}")
        raise Failed(error, facts, exit_code=EXIT_SOME_FAILED)
    if shell.wants_json:
        shell.screen.answer_json(facts | {"error": None})
