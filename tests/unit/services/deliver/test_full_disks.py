"""A full disk is waited for, each folder for itself, and fails a job only after the patience."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from imagen.domain.job import JobState, Output
from imagen.domain.scope import EVERYTHING, Scope
from imagen.ledger.jobs.cancel_and_retry import retry_jobs
from imagen.ledger.queries.waiting_jobs import hosts_to_deliver
from imagen.services.deliver.full_disks import FullDisks


@dataclass
class SmallDisk:
    """A folder on a disk that a test may fill and empty."""

    folder: Path
    fill: Callable[[], None]
    empty: Callable[[], None]


@pytest.fixture(params=["mounted", "limited"])
def disk(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SmallDisk]:
    """A file system of its own where this process may mount one, and one that plays a full disk.

    Without the right to mount both are played.
    """
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    if request.param == "mounted" and subprocess.run(mount, capture_output=True).returncode == 0:
        yield _mounted(folder)
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    else:
        yield _played(folder, monkeypatch)


def _mounted(folder: Path) -> SmallDisk:
    ballast = folder / "ballast"

    def fill() -> None:
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass

    return SmallDisk(folder, fill, ballast.unlink)


def _played(folder: Path, monkeypatch: pytest.MonkeyPatch) -> SmallDisk:
    """The system call itself answers as on a full disk, for files below the folder."""
    is_full = [False]
    write = os.write

    def write_or_refuse(handle: int, data: Any) -> int:
        path = os.readlink(f"/proc/self/fd/{handle}")
        if is_full[0] and path.startswith(str(folder)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data)

    monkeypatch.setattr(os, "write", write_or_refuse)
    return SmallDisk(
        folder, lambda: is_full.__setitem__(0, True), lambda: is_full.__setitem__(0, False)
    )


def generated(studio: Any, folder: Path, name: str = "fox.{ext}") -> Any:
    return studio.desk.generated(output=Output(str(folder), name))


def wait_since(studio: Any, job_id: Any, seconds: float) -> None:
    """The job has been waiting for space for so long, and its next try is due."""
    since = datetime.now(UTC) - timedelta(seconds=seconds)
    studio.desk.set(job_id, limited_since=since, not_before=None)


def test_a_full_disk_is_waited_for_and_the_image_lands_when_there_is_space(
    studio: Any, disk: SmallDisk
) -> None:
    job_id = generated(studio, disk.folder)
    disk.fill()

    [outcome] = studio.deliver()
    waiting = studio.desk.job(job_id)
    disk.empty()
    studio.clock.sleep(30)
    studio.be_due(job_id)
    studio.deliver()

    assert outcome.state is waiting.state is JobState.GENERATED
    assert (waiting.error_code, waiting.lease_owner) == ("disk_full", None)
    assert studio.desk.state(job_id) is JobState.SUCCEEDED
    assert studio.desk.job(job_id).error_code is None
    assert (disk.folder / "fox.png.json").exists()


def test_a_job_that_waits_for_space_is_not_tried_before_its_time(
    studio: Any, disk: SmallDisk
) -> None:
    generated(studio, disk.folder)
    disk.fill()
    studio.deliver()

    assert studio.deliver() == []
    assert hosts_to_deliver(studio.desk.ledger) == []


def test_the_jobs_of_other_folders_go_on(studio: Any, disk: SmallDisk, tmp_path: Path) -> None:
    for number in range(3):
        generated(studio, disk.folder, f"{number}.{{ext}}")
    other = generated(studio, tmp_path / "elsewhere")
    disk.fill()

    studio.deliver()

    assert studio.desk.state(other) is JobState.SUCCEEDED
    assert (tmp_path / "elsewhere" / "fox.png").exists()


def test_a_full_disk_is_said_once(
    studio: Any, disk: SmallDisk, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [generated(studio, disk.folder, f"{number}.{{ext}}") for number in range(3)]
    disk.fill()

    with caplog.at_level(logging.INFO, logger="imagen.services.deliver.deliver"):
        first = studio.deliver()
        for _ in range(3):
            studio.clock.sleep(600)
            for job_id in ids:
                studio.be_due(job_id)
            later = studio.deliver()

    assert [record.msg for record in caplog.records].count("disk_full") == 1
    assert [outcome.error is None for outcome in first] == [False, True, True]
    assert [outcome.error for outcome in later] == [None] * 3
    assert [event["event"] for _, event in studio.publisher.events] == ["retry"]


def test_a_disk_that_is_full_again_is_said_again(
    sqlite_studio: Any, disk: SmallDisk, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="imagen.services.deliver.deliver"):
        for number in range(2):
            job_id = generated(sqlite_studio, disk.folder, f"{number}.{{ext}}")
            disk.fill()
            sqlite_studio.deliver()
            disk.empty()
            sqlite_studio.clock.sleep(600)
            sqlite_studio.be_due(job_id)
            sqlite_studio.deliver()
            assert sqlite_studio.desk.state(job_id) is JobState.SUCCEEDED

    assert [record.msg for record in caplog.records].count("disk_full") == 2


def test_a_full_disk_fails_a_job_only_after_the_patience(studio: Any, disk: SmallDisk) -> None:
    studio.full_disks = FullDisks(patience_s=3600)
    job_id = generated(studio, disk.folder)
    disk.fill()
    studio.deliver()

    wait_since(studio, job_id, 3590)
    studio.clock.sleep(3590)
    studio.deliver()
    before = studio.desk.state(job_id)
    wait_since(studio, job_id, 3601)
    [outcome] = studio.deliver()

    assert before is JobState.GENERATED
    assert (outcome.state, outcome.error.code) == (JobState.FAILED, "disk_full")
    assert f"imagen jobs retry {job_id}" in outcome.error.hint
    assert len(studio.desk.artifact_rows()) == 1


def test_a_retried_job_has_all_the_patience_again(studio: Any, disk: SmallDisk) -> None:
    job_id = generated(studio, disk.folder)
    disk.fill()
    studio.deliver()
    wait_since(studio, job_id, 4000)
    studio.deliver()

    retry_jobs(studio.desk.ledger, Scope(job_ids=(job_id,)))
    studio.deliver()
    again = studio.desk.state(job_id)
    disk.empty()
    studio.clock.sleep(600)
    studio.be_due(job_id)
    studio.deliver()

    assert again is JobState.GENERATED
    assert studio.desk.state(job_id) is JobState.SUCCEEDED


def test_without_patience_a_full_disk_fails_at_once(sqlite_studio: Any, disk: SmallDisk) -> None:
    sqlite_studio.full_disks = FullDisks(patience_s=0)
    generated(sqlite_studio, disk.folder)
    disk.fill()

    [outcome] = sqlite_studio.deliver()

    assert outcome.state is JobState.FAILED


def test_waiting_for_space_is_no_sign_of_a_job_that_ends_workers(
    studio: Any, disk: SmallDisk
) -> None:
    job_id = generated(studio, disk.folder)
    disk.fill()
    for _ in range(12):
        studio.clock.sleep(600)
        studio.be_due(job_id)
        studio.deliver()

    assert studio.desk.job(job_id).delivery_count == 0


def test_nothing_is_left_of_a_file_that_found_no_space(sqlite_studio: Any, disk: SmallDisk) -> None:
    generated(sqlite_studio, disk.folder)
    disk.fill()

    sqlite_studio.deliver()

    assert {path.name for path in disk.folder.iterdir()} <= {"ballast"}


def test_a_folder_is_tried_after_30_s_then_2_and_5_minutes(clock: Any) -> None:
    disks, folder = FullDisks(), Path("/x")
    waits = []
    for _ in range(5):
        waits.append(disks.note_full(folder, clock))
        # The rest of the same round.
        clock.sleep(1)
        assert disks.note_full(folder, clock) == waits[-1] - 1
        clock.sleep(waits[-1])

    assert waits == [30, 120, 300, 300, 300]
    assert disks.wait_s(folder, clock) == 0
    assert disks.is_full(folder)
    disks.note_written(folder)
    assert not disks.is_full(folder)


def test_jobs_of_a_folder_known_to_be_full_are_put_off_without_being_read(
    studio: Any, disk: SmallDisk
) -> None:
    generated(studio, disk.folder)
    disk.fill()
    studio.deliver()
    late = generated(studio, disk.folder, "late.{ext}")
    table = "artifacts" if studio.desk.ledger.path else "imagen.artifacts"
    studio.desk.sql(f"DELETE FROM {table}")

    studio.deliver()

    # A job whose artifact is gone would be drawn again.
    assert studio.desk.state(late) is JobState.GENERATED
    assert retry_jobs(studio.desk.ledger, EVERYTHING) == {}
