"""From a kept image to its files: names, collisions, folders that say no, images that are gone."""

from __future__ import annotations

import errno
import json
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest

from imagen.domain.job import JobState, Output
from imagen.domain.scope import EVERYTHING
from imagen.errors import DeliveryError
from imagen.ledger.jobs.cancel_and_retry import retry_jobs


def test_a_delivered_job_has_its_file_its_sidecar_and_no_artifact(studio: Any) -> None:
    job_id = studio.desk.generated()

    [outcome] = studio.deliver()

    assert (outcome.job_id, outcome.state) == (job_id, JobState.SUCCEEDED)
    assert studio.files() == ["fox.png", "fox.png.json"]
    job = studio.desk.job(job_id)
    assert job.output_path == str(studio.desk.folder / "fox.png")
    assert (job.state, job.lease_owner) == (JobState.SUCCEEDED, None)
    assert job.finished_at is not None
    assert studio.desk.artifact_rows() == []
    assert studio.desk.artifact_files() == []
    assert studio.publisher.events[-1] == (
        job_id,
        {"event": "succeeded", "path": str(studio.desk.folder / "fox.png")},
    )


def test_file_row_and_sidecar_agree(studio: Any) -> None:
    import hashlib

    job_id = studio.desk.generated()

    studio.deliver()

    data = (studio.desk.folder / "fox.png").read_bytes()
    sidecar = studio.sidecar("fox.png.json")
    assert sidecar["sha256"] == studio.desk.job(job_id).file_sha256
    assert sidecar["sha256"] == hashlib.sha256(data).hexdigest()
    assert (sidecar["job_id"], sidecar["file"]) == (str(job_id), "fox.png")


def test_nothing_to_deliver_is_no_outcome(studio: Any) -> None:
    assert studio.deliver() == []


def test_a_host_delivers_only_what_was_asked_for_there(studio: Any) -> None:
    studio.desk.generated(delivery_host="elsewhere")

    assert studio.deliver(host="here") == []
    assert len(studio.deliver(host="elsewhere")) == 1


def test_without_a_sidecar_there_is_none(sqlite_studio: Any) -> None:
    folder = str(sqlite_studio.desk.folder)
    sqlite_studio.desk.generated(output=Output(folder, "fox.{ext}", sidecar=False))

    sqlite_studio.deliver()

    assert sqlite_studio.files() == ["fox.png"]


def test_a_missing_folder_is_made(sqlite_studio: Any) -> None:
    deep = sqlite_studio.desk.folder / "a" / "b"
    sqlite_studio.desk.generated(output=Output(str(deep), "c/fox.{ext}"))

    [outcome] = sqlite_studio.deliver()

    assert outcome.state is JobState.SUCCEEDED
    assert (deep / "c" / "fox.png").exists()


def deliver_in_vain(studio: Any, job_id: Any, says: str) -> None:
    """The delivery fails, keeps the image, and a retry resumes it without drawing again."""
    [outcome] = studio.deliver()
    assert outcome.state is JobState.FAILED
    assert says in str(outcome.error)
    job = studio.desk.job(job_id)
    assert (job.state, job.phase, job.error_code) == (
        JobState.FAILED,
        "deliver",
        outcome.error.code,
    )
    assert job.lease_owner is None
    assert len(studio.desk.artifact_rows()) == 1
    assert studio.publisher.names(job_id)[-1] == "failed"


def test_a_file_in_the_folders_place_fails_the_delivery_until_it_is_gone(studio: Any) -> None:
    studio.desk.folder.write_text("a file")
    job_id = studio.desk.generated()
    deliver_in_vain(studio, job_id, "is a file")

    studio.desk.folder.unlink()
    retry_jobs(studio.desk.ledger, EVERYTHING)

    assert studio.draw() is None
    [outcome] = studio.deliver()
    assert outcome.state is JobState.SUCCEEDED
    assert len(studio.desk.attempts(job_id)) == 1
    assert studio.files() == ["fox.png", "fox.png.json"]


def test_a_full_disk_fails_the_delivery_and_leaves_nothing_half_written(
    sqlite_studio: Any,
) -> None:
    import signal

    job_id = sqlite_studio.desk.generated()
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # The database grows as well, so the limit stands only while files are written.
        import imagen.services.deliver.file_writer as deliver

        real = deliver.write_temp

        def on_a_full_disk(*args: Any, **options: Any) -> Path:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, usual[1]))
            try:
                return real(*args, **options)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, usual)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(deliver, "write_temp", on_a_full_disk)
            deliver_in_vain(sqlite_studio, job_id, "cannot write to")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        signal.signal(signal.SIGXFSZ, ignored)
    assert sqlite_studio.files() == []

    retry_jobs(sqlite_studio.desk.ledger, EVERYTHING)
    assert sqlite_studio.deliver()[0].state is JobState.SUCCEEDED


@pytest.mark.parametrize("step", ["sync_files", "sync_folder"])
def test_a_disk_that_does_not_sync_fails_the_delivery_and_not_the_process(
    sqlite_studio: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    job_id = sqlite_studio.desk.generated()

    def fail(*_: Any) -> None:
        raise DeliveryError("cannot save: input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(f"imagen.services.deliver.file_writer.{step}", fail)
        deliver_in_vain(sqlite_studio, job_id, "cannot save")

    assert [name for name in sqlite_studio.files() if name.endswith(".tmp")] == []
    retry_jobs(sqlite_studio.desk.ledger, EVERYTHING)
    assert sqlite_studio.deliver()[0].state is JobState.SUCCEEDED
    assert sqlite_studio.files() == ["fox.png", "fox.png.json"]


def test_a_name_that_no_file_system_takes_fails_its_own_job_only(sqlite_studio: Any) -> None:
    folder: Path = sqlite_studio.desk.folder
    bad = sqlite_studio.desk.submit(output=Output(str(folder / ("x" * 300)), "fox.{ext}"))
    good = sqlite_studio.desk.submit()
    for _ in range(2):
        sqlite_studio.desk.generate(sqlite_studio.desk.must_claim())

    sqlite_studio.deliver()

    assert sqlite_studio.desk.state(good) is JobState.SUCCEEDED
    assert sqlite_studio.desk.state(bad) is JobState.FAILED
    assert "too long" in (sqlite_studio.desk.job(bad).error_message or "")


def test_a_folder_that_may_not_be_entered_fails_its_own_job_only(
    sqlite_studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder: Path = sqlite_studio.desk.folder
    bad = sqlite_studio.desk.submit(output=Output(str(folder / "locked"), "fox.{ext}"))
    good = sqlite_studio.desk.submit()
    for _ in range(2):
        sqlite_studio.desk.generate(sqlite_studio.desk.must_claim())
    real = Path.stat

    def stat(path: Path, **options: Any) -> Any:
        # root, who runs some of these tests, may enter any folder.
        if "locked" in path.parts:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", stat)

    sqlite_studio.deliver()

    assert sqlite_studio.desk.state(good) is JobState.SUCCEEDED
    assert sqlite_studio.desk.state(bad) is JobState.FAILED
    assert "Permission denied" in (sqlite_studio.desk.job(bad).error_message or "")


def test_bytes_that_are_no_image_fail_their_own_job_only(sqlite_studio: Any) -> None:
    bad, good = sqlite_studio.desk.submit(), sqlite_studio.desk.submit()
    sqlite_studio.desk.generate(sqlite_studio.desk.must_claim(), data=b"<html>no</html>")
    sqlite_studio.desk.generate(sqlite_studio.desk.must_claim())

    sqlite_studio.deliver()

    assert sqlite_studio.desk.state(good) is JobState.SUCCEEDED
    assert sqlite_studio.desk.job(bad).error_code == "delivery"


def test_an_image_that_raises_an_unknown_error_fails_its_own_job_only(
    sqlite_studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagen.services.deliver import finished_image

    bad, good = sqlite_studio.desk.generated(), sqlite_studio.desk.generated()
    real, is_first = finished_image.embed, iter([True])

    def embed(*args: Any, **options: Any) -> bytes:
        if next(is_first, False):
            raise KeyError("a bug")
        return real(*args, **options)

    monkeypatch.setattr(finished_image, "embed", embed)

    sqlite_studio.deliver()

    assert sqlite_studio.desk.state(good) is JobState.SUCCEEDED
    assert "KeyError" in (sqlite_studio.desk.job(bad).error_message or "")
    retry_jobs(sqlite_studio.desk.ledger, EVERYTHING)
    assert sqlite_studio.deliver()[0].state is JobState.SUCCEEDED


@pytest.mark.usefixtures("kept_as_files")
def test_an_image_whose_bytes_are_gone_is_drawn_again(studio: Any) -> None:
    job_id = studio.desk.generated()
    if studio.desk.ledger.artifact_folder is not None:
        shutil.rmtree(studio.desk.ledger.artifact_folder)
    else:
        studio.desk.sql("DELETE FROM imagen.artifacts")

    [outcome] = studio.deliver()

    assert outcome.state is JobState.QUEUED
    assert studio.publisher.woken_queues == ["gpu"]
    assert studio.draw("two").state is JobState.GENERATED
    assert studio.deliver("two")[0].state is JobState.SUCCEEDED
    assert len(studio.desk.attempts(job_id)) == 1
    assert studio.files() == ["fox.png", "fox.png.json"]


def test_a_worker_writes_only_below_the_allowed_folders(sqlite_studio: Any, tmp_path: Path) -> None:
    sqlite_studio.allowed_dirs = [tmp_path / "allowed"]
    inside = sqlite_studio.desk.submit(output=Output(str(tmp_path / "allowed" / "a"), "x.{ext}"))
    outside = sqlite_studio.desk.submit(output=Output(str(tmp_path / "out"), "x.{ext}"))
    hidden = sqlite_studio.desk.submit(output=Output(str(tmp_path / "allowed" / ".ssh"), "x.{ext}"))
    upwards = sqlite_studio.desk.submit(
        output=Output(str(tmp_path / "allowed"), "../x.png", replace=True)
    )
    for _ in range(4):
        sqlite_studio.desk.generate(sqlite_studio.desk.must_claim())

    sqlite_studio.deliver()

    assert sqlite_studio.desk.state(inside) is JobState.SUCCEEDED
    for job_id in (outside, hidden, upwards):
        assert sqlite_studio.desk.job(job_id).phase == "deliver"
        assert sqlite_studio.desk.state(job_id) is JobState.FAILED
    assert [path.name for path in tmp_path.rglob("*.png")] == ["x.png"]


@pytest.mark.parametrize(("format_", "ext"), [("jpeg", "jpg"), ("webp", "webp"), ("png", "png")])
def test_the_extension_follows_the_asked_format(sqlite_studio: Any, format_: str, ext: str) -> None:
    from imagen.backends.mock.drawing import draw_request

    desk = sqlite_studio.desk
    desk.submit(request=desk.request(format=format_))
    # The backend gave a PNG whatever was asked for.
    desk.generate(desk.must_claim(), data=draw_request(desk.request()))

    sqlite_studio.deliver()

    assert sqlite_studio.files() == [f"fox.{ext}", f"fox.{ext}.json"]
    assert json.loads((desk.folder / f"fox.{ext}.json").read_text())["format"] == format_


def test_a_deliverer_that_lost_its_job_says_nothing_about_its_end(
    studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = studio.desk.generated()

    def lose(*_: Any, **__: Any) -> None:
        studio.desk.expire(job_id)
        studio.reconciler("two").tick()
        raise DeliveryError("cannot save: input/output error")

    monkeypatch.setattr("imagen.services.deliver.file_writer.move_into_place", lose)

    assert studio.deliver() == []

    assert studio.desk.state(job_id) is JobState.GENERATED
    assert studio.publisher.names(job_id) == []
