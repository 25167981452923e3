"""Putting jobs back, and telling what became of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagen.domain.job import JobState
from imagen.errors import RequestError
from imagen.services.control.retry_jobs import (
    redirect_output,
    retry_selected,
    scopes_of,
    wake_for_retried,
)
from imagen.services.control.select_jobs import JobSelector, select_jobs
from imagen.services.submit.delivery_folders import own_folders


@pytest.fixture
def desk(sqlite_desk: Any) -> Any:
    return sqlite_desk


def failed(desk: Any, **changes: Any) -> Any:
    job_id = desk.submit(**changes)
    desk.set(job_id, state="failed", error_code="backend_rejected", error_message="no")
    return job_id


def test_named_jobs_that_have_not_failed_are_left_alone(desk: Any) -> None:
    waiting, ended = desk.submit(), failed(desk)
    selected = select_jobs(desk.ledger, JobSelector((str(waiting), str(ended))))

    changes = retry_selected(desk.ledger, selected)

    assert [(each.job_id, each.state) for each in changes.changed] == [(ended, JobState.QUEUED)]
    assert [job.id for job in changes.left_alone] == [waiting]
    assert changes.to_json() == {"jobs": [{"id": str(ended), "state": "queued"}]}


def test_all_means_what_failed_and_not_what_a_user_canceled(desk: Any) -> None:
    ended, canceled = failed(desk), desk.submit()
    desk.set(canceled, state="canceled")

    changes = retry_selected(desk.ledger, select_jobs(desk.ledger, JobSelector(every=True)))

    assert [each.job_id for each in changes.changed] == [ended]
    assert desk.state(canceled) is JobState.CANCELED


def test_an_image_that_only_has_to_be_written_wakes_no_worker_that_draws(studio: Any) -> None:
    desk = studio.desk
    drawn = desk.generated()
    desk.set(drawn, state="failed", phase="deliver")
    changes = retry_selected(desk.ledger, select_jobs(desk.ledger, JobSelector(every=True)))

    wake_for_retried(desk.ledger, studio.publisher, changes)

    assert [each.state for each in changes.changed] == [JobState.GENERATED]
    assert studio.publisher.woken_queues == []


def test_another_file_is_for_a_job_that_ended_without_an_image(desk: Any, tmp_path: Path) -> None:
    ended, waiting = desk.job(failed(desk)), desk.job(desk.submit())
    path = tmp_path / "elsewhere.webp"

    redirect_output(desk.ledger, ended, path, folders=own_folders([tmp_path]))

    output = desk.job(ended.id).output
    assert (output.folder, output.name, output.replace) == (str(tmp_path), path.name, True)
    assert desk.job(ended.id).request.format == "webp"
    with pytest.raises(RequestError, match="--output is for a failed or canceled one"):
        redirect_output(desk.ledger, waiting, path, folders=own_folders(None))
    with pytest.raises(RequestError, match="outside the folders"):
        redirect_output(desk.ledger, ended, path, folders=own_folders([tmp_path / "mine"]))


def test_many_jobs_are_cut_into_statements_that_a_database_takes(desk: Any) -> None:
    ids = [desk.draft().id for _ in range(1_001)]

    scopes = scopes_of(ids)

    assert [len(scope.job_ids or ()) for scope in scopes] == [500, 500, 1]
