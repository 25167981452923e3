"""The image's bytes between drawing and delivery: never half, never another's, never left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagen.domain.scope import EVERYTHING
from imagen.errors import LedgerUnavailable
from imagen.ledger.jobs import artifacts
from imagen.ledger.jobs.artifacts import (
    artifact_of,
    drop_files,
    full_hosts,
    load_artifacts,
    obsolete_keys,
    orphan_files,
    undelivered_bytes,
    write_artifact_file,
)
from imagen.ledger.jobs.cancel_and_retry import request_cancel, retry_jobs
from imagen.ledger.jobs.delivery import (
    Delivered,
    claim_deliveries,
    draw_again,
    record_delivery_failed,
    record_succeeded,
)
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.migrate import upgrade
from imagen.ledger.store.open_ledger import open_ledger


def make_old(folder: Path | None, name: str) -> None:
    assert folder is not None
    os.utime(folder / name, (0, 0))


def test_the_bytes_come_back_as_they_were(desk: Any) -> None:
    job_id = desk.submit()
    claim = desk.must_claim()

    desk.generate(claim, data=b"\x00\xff" * 5000)

    loaded = load_artifacts(desk.ledger, [job_id])[job_id]
    assert loaded.data == b"\x00\xff" * 5000
    assert loaded.key == f"{claim.attempt.id}-1"


def test_a_large_image_comes_back_too_and_is_a_file_beside_sqlite_alone(desk: Any) -> None:
    job_id = desk.submit()
    large = b"\x00\xff" * artifacts.SMALL_BYTES

    desk.generate(desk.must_claim(), data=large)

    assert load_artifacts(desk.ledger, [job_id])[job_id].data == large
    assert len(desk.artifact_files()) == (desk.ledger.kind == "sqlite")


def test_two_claims_of_one_attempt_keep_their_bytes_apart(desk: Any) -> None:
    desk.submit()
    first = desk.must_claim("one")
    desk.crash(first)
    second = desk.must_claim("two")

    assert first.attempt.id == second.attempt.id
    assert artifact_of(first, b"x").key != artifact_of(second, b"x").key


def test_undelivered_bytes_are_those_of_generated_jobs(desk: Any) -> None:
    assert undelivered_bytes(desk.ledger) == 0
    job_id = desk.submit()
    desk.generate(desk.must_claim(), data=b"12345")

    assert undelivered_bytes(desk.ledger) == 5

    desk.set(job_id, state="succeeded")
    assert undelivered_bytes(desk.ledger) == 0


def test_each_host_is_full_for_itself(desk: Any) -> None:
    for host, data in (("away", b"123456"), ("here", b"12"), ("here", b"123")):
        desk.submit(delivery_host=host)
        desk.generate(desk.must_claim(), data=data)

    assert full_hosts(desk.ledger, most_bytes=5) == ("away",)
    assert full_hosts(desk.ledger, most_bytes=4) == ("away", "here")
    assert full_hosts(desk.ledger, most_bytes=6) == ()
    assert full_hosts(desk.ledger, most_bytes=2**40) == ()


def test_artifacts_go_with_success_and_nothing_is_left(desk: Any) -> None:
    desk.generated()
    [claim] = claim_deliveries(desk.ledger, desk.claimant(), host="here")
    key = desk.artifact_rows()[0].key

    assert record_succeeded(desk.ledger, [Delivered(claim, "/x.png", "0" * 64, key)]) == [True]
    drop_files(desk.ledger, [key])

    assert desk.artifact_rows() == []
    assert desk.artifact_files() == []


def test_leftovers_of_ended_jobs_are_found_and_those_of_failed_deliveries_kept(desk: Any) -> None:
    succeeded, canceled, failed, waiting = (desk.generated() for _ in range(4))
    desk.set(succeeded, state="succeeded")
    desk.set(canceled, state="canceled")
    desk.set(failed, state="failed")
    by_job = {row.job_id: row.key for row in desk.artifact_rows()}

    assert set(obsolete_keys(desk.ledger)) == {by_job[succeeded], by_job[canceled]}
    assert waiting in by_job


def test_the_older_of_two_artifacts_is_a_leftover(desk: Any) -> None:
    job_id = desk.generated()
    [claim] = claim_deliveries(desk.ledger, desk.claimant(), host="here")
    [old] = desk.artifact_rows()
    assert draw_again(desk.ledger, claim)
    desk.sql(
        "UPDATE artifacts SET created_at = '2020-01-01 00:00:00'"
        if desk.ledger.path
        else "UPDATE imagen.artifacts SET created_at = '2020-01-01'"
    )
    desk.generate(desk.must_claim(), data=b"new")

    assert obsolete_keys(desk.ledger) == [old.key]
    assert load_artifacts(desk.ledger, [job_id])[job_id].data == b"new"


def test_a_failed_delivery_goes_on_with_its_kept_artifact(desk: Any) -> None:
    job_id = desk.generated()
    [claim] = claim_deliveries(desk.ledger, desk.claimant(), host="here")
    record_delivery_failed(desk.ledger, claim, code="delivery", message="disk full")
    assert desk.row(job_id).phase == "deliver"

    told = retry_jobs(desk.ledger, EVERYTHING)

    assert told[job_id].value == "generated"
    [again] = claim_deliveries(desk.ledger, desk.claimant(), host="here")
    assert again.attempt.id == claim.attempt.id
    assert job_id in load_artifacts(desk.ledger, [job_id])


def test_a_canceled_image_whose_artifact_was_swept_is_drawn_again_when_retried(desk: Any) -> None:
    job_id = desk.generated()
    request_cancel(desk.ledger, EVERYTHING)
    with desk.ledger.write() as connection:
        artifacts.forget_artifacts(connection, obsolete_keys(desk.ledger))

    assert retry_jobs(desk.ledger, EVERYTHING)[job_id].value == "queued"
    assert desk.must_claim().attempt.number == 2


# What follows is about files, so about SQLite alone.


@pytest.mark.usefixtures("kept_as_files")
def test_a_truncated_file_is_no_artifact(sqlite_desk: Any) -> None:
    job_id = sqlite_desk.generated()
    [name] = sqlite_desk.artifact_files()
    path = sqlite_desk.ledger.artifact_folder / name
    path.write_bytes(path.read_bytes()[:-1])

    assert load_artifacts(sqlite_desk.ledger, [job_id]) == {}


@pytest.mark.usefixtures("kept_as_files")
def test_a_missing_file_is_no_artifact(sqlite_desk: Any) -> None:
    job_id = sqlite_desk.generated()
    shutil.rmtree(sqlite_desk.ledger.artifact_folder)

    assert load_artifacts(sqlite_desk.ledger, [job_id]) == {}
    assert orphan_files(sqlite_desk.ledger) == []


@pytest.mark.usefixtures("kept_as_files")
def test_a_file_whose_transaction_was_rolled_back_is_swept_once_it_is_old(
    sqlite_desk: Any,
) -> None:
    desk = sqlite_desk
    desk.submit()
    artifact = artifact_of(desk.must_claim(), b"never committed")
    write_artifact_file(desk.ledger, artifact, durable=False)
    assert orphan_files(desk.ledger) == []

    make_old(desk.ledger.artifact_folder, artifact.key)

    assert orphan_files(desk.ledger) == [artifact.key]
    drop_files(desk.ledger, orphan_files(desk.ledger))
    assert desk.artifact_files() == []


@pytest.mark.usefixtures("kept_as_files")
def test_a_committed_file_is_never_an_orphan_however_old(sqlite_desk: Any) -> None:
    sqlite_desk.generated()
    [name] = sqlite_desk.artifact_files()
    make_old(sqlite_desk.ledger.artifact_folder, name)

    assert orphan_files(sqlite_desk.ledger) == []


@pytest.mark.usefixtures("kept_as_files")
def test_one_ledger_does_not_sweep_the_images_of_another_in_the_same_folder(
    sqlite_desk: Any, request: pytest.FixtureRequest
) -> None:
    sqlite_desk.generated()
    [name] = sqlite_desk.artifact_files()
    make_old(sqlite_desk.ledger.artifact_folder, name)
    neighbour = open_ledger("", default_path=sqlite_desk.ledger.path.with_name("other.db"))
    request.addfinalizer(neighbour.close)
    upgrade(neighbour)

    drop_files(neighbour, orphan_files(neighbour))

    assert sqlite_desk.artifact_files() == [name]


@pytest.mark.usefixtures("kept_as_files")
def test_a_folder_that_cannot_take_the_bytes_leaves_the_job_running(sqlite_desk: Any) -> None:
    desk = sqlite_desk
    job_id = desk.submit()
    claim = desk.must_claim()
    desk.ledger.artifact_folder.write_text("a file where a folder is needed")

    with pytest.raises(LedgerUnavailable, match="cannot keep an image"):
        desk.generate(claim)

    assert desk.row(job_id).state == "running"
    assert desk.artifact_rows() == []


@pytest.mark.usefixtures("kept_as_files")
def test_dropping_files_twice_is_no_error(
    sqlite_desk: Any, another_process: Callable[[Ledger], Ledger]
) -> None:
    sqlite_desk.generated()
    keys = sqlite_desk.artifact_files()

    drop_files(another_process(sqlite_desk.ledger), keys)
    drop_files(sqlite_desk.ledger, keys)

    assert sqlite_desk.artifact_files() == []
