"""The Celery tasks: each calls one part of the worker, then decides on Celery's own retry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

import kombu.exceptions
from celery import Celery, Task
from celery.exceptions import Ignore, Reject, Retry

from imagen.domain.job import Job, JobState
from imagen.errors import ImagenError, LedgerUnavailable, error_type
from imagen.queue.broker.routing import (
    DELIVER_TASK,
    GENERATE_TASK,
    LEDGER_HEADER,
    PASSED_ON_HEADER,
    SYNC_TASK,
)
from imagen.queue.worker.task_request import WakeupRequest, note_drawn
from imagen.services.draw.claim_outcome import ClaimOutcome

if TYPE_CHECKING:
    from imagen.queue.worker.queue_worker import QueueWorker
    from imagen.queue.worker.wakeup_drawing import WakeupDrawing

#: A longer wait stays in the row alone: Celery holds countdowns in the worker's memory, beyond its
#: prefetch limit, and doubles them when they outlive the visibility timeout.
MAX_COUNTDOWN_S = 60.0

# While the ledger is away the wake-up comes again, which is safe for all tasks.
_WHILE_LEDGER_IS_AWAY: dict[str, Any] = {
    # Of this app only: Celery hands shared tasks on to every other app of the process, where the
    # name would stand for another worker's.
    "shared": False,
    "autoretry_for": (LedgerUnavailable,),
    "retry_backoff": 2,
    "retry_backoff_max": 60,
    "retry_jitter": True,
    "max_retries": None,
}


def add_tasks(app: Celery, worker: Callable[[], QueueWorker]) -> None:
    """Give ``app`` the tasks; ``worker`` is asked when one runs, long after this."""

    @app.task(
        name=GENERATE_TASK,
        bind=True,
        # A failed job is not a failure of the program: one line in the log, no traceback.
        throws=(ImagenError,),
        Request=WakeupRequest,
        **_WHILE_LEDGER_IS_AWAY,
    )
    def generate(self: Task[Any, Any], label: str) -> dict[str, Any]:
        here = worker()
        here.check_ledger(self.request.get(LEDGER_HEADER))
        outcome = here.drawing.draw_one()
        if outcome is None:
            _pass_on(self, here.drawing, label)
            return _result_without_job(here.job(UUID(self.request.id)))
        if str(outcome.job_id) != self.request.id:
            note_drawn(self.request.properties, outcome.job_id)
        _retry_if_due_soon(self, outcome, label)
        return _result(outcome)

    @app.task(name=DELIVER_TASK, bind=True, throws=(ImagenError,), **_WHILE_LEDGER_IS_AWAY)
    def deliver(self: Task[Any, Any], _host: str) -> dict[str, int]:
        here = worker()
        here.check_ledger(self.request.get(LEDGER_HEADER))
        return dict(Counter(outcome.state.value for outcome in here.deliveries.deliver_all()))

    @app.task(name=SYNC_TASK, bind=True, throws=(ImagenError,), **_WHILE_LEDGER_IS_AWAY)
    def sync(self: Task[Any, Any], _host: str) -> dict[str, Any]:
        here = worker()
        here.check_ledger(self.request.get(LEDGER_HEADER))
        report = here.outbox.send_all()
        return {"sent": report.sent, "put off": report.failed}


def _pass_on(task: Task[Any, Any], drawing: WakeupDrawing, label: str) -> None:
    """Send a wake-up on, once, that may be of use to another worker."""
    request: Any = task.request
    if drawing.leaves_backends_out and not request.get(PASSED_ON_HEADER):
        queue = request.delivery_info["routing_key"]
        drawing.pass_on(queue, request.id, label, retries=request.retries)


def _retry_if_due_soon(task: Task[Any, Any], outcome: ClaimOutcome, label: str) -> None:
    """Celery's own retry, after the wait that the retry policy chose and the row says too.

    No message is sent where the wait is long, ends with a pause, or the job is another one than
    that of the message: then the top-up sends one when the job is due.
    """
    retry = outcome.retry
    if retry is None:
        return
    is_far = retry.wait_s > MAX_COUNTDOWN_S or retry.pause_s > 0
    if is_far or str(outcome.job_id) != task.request.id:
        raise Retry(exc=_shown(outcome.error) if outcome.error else None)
    # As the publisher shows it; celery-types does not know the option.
    options: dict[str, Any] = {"argsrepr": f"({label})"}
    try:
        raise task.retry(
            exc=_shown(outcome.error) if outcome.error else None,
            countdown=retry.wait_s,
            **options,
        )
    except (Reject, kombu.exceptions.OperationalError, OSError):
        # Redis is away, for which Celery raises Reject (observed on 5.7). The row has the same time
        # in not_before, and the top-up sends the message.
        return


def _result_without_job(job: Job | None) -> dict[str, Any]:
    """The result that Flower shows for a wake-up that found nothing to draw: the state of its job.

    SUCCESS would hide a failure of the job: Flower ranks it above FAILURE, in whatever order they
    come. Observed on Celery 5.7.0.

    Raises:
        ImagenError: the job failed.
        Retry: it waits to be tried again.
        Ignore: it waits or runs; the wake-up that draws it reports its end.
    """
    match job:
        case Job(state=JobState.FAILED):
            raise _recorded_error(job)
        case Job(state=JobState.QUEUED, error_code=str()):
            raise Retry(exc=_recorded_error(job))
        case Job(state=JobState.QUEUED | JobState.RUNNING):
            raise Ignore
    return {"state": "nothing to do"}


def _recorded_error(job: Job) -> ImagenError:
    return error_type(job.error_code)(job.error_message or "")


def _shown(error: ImagenError) -> ImagenError:
    """The error without its causes: Flower shows whole tracebacks, and the foreign exceptions in
    them may contain a prompt."""
    return type(error)(*error.args)


def _result(outcome: ClaimOutcome) -> dict[str, Any]:
    """What Flower shows as the result of a task: no prompt, no path.

    Raises:
        ImagenError: the job failed, so that Flower counts it among the failures.
    """
    if outcome.state is JobState.FAILED and outcome.error is not None:
        raise _shown(outcome.error) from None
    return {
        "job": str(outcome.job_id),
        "state": outcome.state.value,
        "seconds": round(outcome.seconds, 3),
    }
