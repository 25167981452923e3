"""How the commands of ``imagen jobs`` answer: paths, facts, and an exit code for several jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from imagen.cli.draw.running import tell_warnings
from imagen.cli.shell import Failed, Shell
from imagen.domain.printable import printable_line
from imagen.errors import GaveUpWaiting, ImagenError
from imagen.services.report.job_view import JobView, view_jobs

if TYPE_CHECKING:
    from imagen.cli.screen.progress import Count
    from imagen.wiring.bootstrap import Imagen

EXIT_SOME_FAILED = 4


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
    views = [_with_reason(view, errors, hint) for view in view_jobs(imagen.ledger, ids)]
    troubles = {view.job.id: view.error for view in views if view.error is not None}
    for view in views:
        if view.is_done and not shell.wants_json:
            shell.screen.answer_result(str(view.job.output_path), what="the image is there")
    if not troubles:
        shell.interrupt.how_to_go_on = ""
    tell_warnings(shell, Counter(told for view in views for told in view.record.warnings))
    facts: dict[str, Any] = {}
    if shell.wants_json:
        facts["jobs"] = [view.to_json() for view in views]
    if troubles:
        raise _failed(shell, len(views), troubles, facts)
    if shell.wants_json:
        shell.screen.answer_json(facts | {"error": None})


def _with_reason(view: JobView, errors: Mapping[UUID, ImagenError], hint: str) -> JobView:
    """The view of a job without an image with the best reason for that."""
    job = view.job
    if view.is_done:
        return view
    late = GaveUpWaiting(f"gave up waiting for job {job.id}, which is {job.state.value}", hint)
    return replace(view, error=errors.get(job.id) or view.error or late)


def _failed(
    shell: Shell, number: int, troubles: Mapping[UUID, ImagenError], facts: dict[str, Any]
) -> Failed:
    if number == 1:
        (error,) = troubles.values()
        return Failed(error, facts)
    for job_id, error in troubles.items():
        shell.screen.say(f"  job {job_id}: {printable_line(error.message)}")
    late = [error for error in troubles.values() if isinstance(error, GaveUpWaiting)]
    if late:
        waiting = GaveUpWaiting(f"{len(late)} of {number} jobs are not done yet", late[0].hint)
        return Failed(waiting, facts)
    error = ImagenError(
        f"{len(troubles)} of {number} jobs have no image",
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
