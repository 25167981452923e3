"""Canceling through workers, and here where no process holds the job."""

from __future__ import annotations

from typing import Any

from imagen.domain.job import JobState
from imagen.domain.scope import Scope
from imagen.errors import BackendUnavailable
from imagen.ledger.jobs.fenced_writes import record_submitted
from imagen.services.control.cancel_jobs import cancel_by_workers, cancel_here
from imagen.services.control.job_changes import JobChanges
from imagen.services.control.select_jobs import JobSelector, select_jobs
from imagen.services.draw.draw import DrawService
from imagen.services.leases.lease_holder import LeaseHolder

ALL = JobSelector(every=True)


def cancel_local(studio: Any, selector: JobSelector) -> JobChanges:
    """Cancel from the process ``two`` of the host ``here``."""
    ledger = studio.desk.ledger
    drawing = DrawService(
        ledger,
        studio.backends,
        studio.heartbeat("two"),
        studio.publisher,
        studio.clock,
        studio.policy,
        studio.circuits("two"),
    )
    holder = LeaseHolder("two", "here", 30.0)
    reconciler = studio.reconciler("two")
    return cancel_here(ledger, drawing, reconciler, holder, select_jobs(ledger, selector))


def left_at_the_backend(desk: Any, **changes: Any) -> Any:
    """A job that its worker gave back after the backend had taken it on."""
    job_id = desk.submit(**changes)
    claim = desk.must_claim(scope=Scope(job_ids=(job_id,)))
    record_submitted(desk.ledger, claim, f"p-{job_id}", place="there")
    desk.set(job_id, state="queued", lease_owner=None, lease_expires_at=None)
    return job_id


def test_workers_are_woken_for_what_only_a_backend_has(studio: Any) -> None:
    desk = studio.desk
    left, waiting = left_at_the_backend(desk), desk.submit()

    changes = cancel_by_workers(desk.ledger, studio.publisher, select_jobs(desk.ledger, ALL))

    states = {each.job_id: each.state for each in changes.changed}
    assert states == {left: JobState.QUEUED, waiting: JobState.CANCELED}
    assert studio.publisher.woken_queues == ["gpu"]


def test_what_no_process_holds_is_canceled_at_its_backend(paid_studio: Any) -> None:
    desk = paid_studio.desk
    left, far = left_at_the_backend(desk), left_at_the_backend(desk, delivery_host="attic")

    changes = cancel_local(paid_studio, ALL)

    states = {each.job_id: each.state for each in changes.changed}
    # Only the host of the second one may reach its server.
    assert states == {left: JobState.CANCELED, far: JobState.QUEUED}
    assert paid_studio.backend.canceled == [f"p-{left}"]


def test_a_backend_that_cannot_be_told_is_the_error_of_that_job_alone(paid_studio: Any) -> None:
    desk = paid_studio.desk
    left, waiting = left_at_the_backend(desk), desk.submit()
    paid_studio.backend.cancel_raises = BackendUnavailable("away")

    changes = cancel_local(paid_studio, ALL)

    assert [each.job_id for each in changes.failed] == [left]
    assert desk.state(left) is JobState.QUEUED
    assert desk.state(waiting) is JobState.CANCELED


def test_what_is_done_is_left_alone(paid_studio: Any) -> None:
    desk = paid_studio.desk
    done = desk.submit()
    desk.set(done, state="succeeded")

    changes = cancel_local(paid_studio, JobSelector((str(done),)))

    assert (changes.changed, [job.id for job in changes.left_alone]) == ((), [done])
