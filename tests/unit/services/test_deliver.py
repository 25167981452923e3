"""From a kept image to its files: names, collisions, folders that say no, images that are gone."""

from __future__ import annotations

import json
import os
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest

from imagen.domain.job import JobState, Output
from imagen.errors import DeliveryError
from imagen.ledger.control import retry_jobs
from imagen.ledger.scope import EVERYTHING
from imagen.output.naming import numbered


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


def test_a_templated_name_never_overwrites(sqlite_studio: Any) -> None:
    sqlite_studio.desk.folder.mkdir()
    (sqlite_studio.desk.folder / "fox.png").write_bytes(b"somebody's")
    job_id = sqlite_studio.desk.generated()

    sqlite_studio.deliver()

    assert (sqlite_studio.desk.folder / "fox.png").read_bytes() == b"somebody's"
    assert sqlite_studio.files() == ["fox-2.png", "fox-2.png.json", "fox.png"]
    assert sqlite_studio.sidecar("fox-2.png.json")["file"] == "fox-2.png"
    assert sqlite_studio.desk.job(job_id).output_path.endswith("fox-2.png")


def test_somebody_elses_sidecar_is_not_overwritten_either(sqlite_studio: Any) -> None:
    sqlite_studio.desk.folder.mkdir()
    (sqlite_studio.desk.folder / "fox.png.json").write_text("{}")
    sqlite_studio.desk.generated()

    sqlite_studio.deliver()

    assert (sqlite_studio.desk.folder / "fox.png.json").read_text() == "{}"
    assert "fox-2.png" in sqlite_studio.files()


@pytest.mark.parametrize("what", ["folder", "symlink to nowhere", "fifo"])
def test_whatever_has_the_name_keeps_it(sqlite_studio: Any, what: str) -> None:
    path: Path = sqlite_studio.desk.folder / "fox.png"
    path.parent.mkdir()
    if what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(path.parent / "nowhere.png")
    sqlite_studio.desk.generated()

    [outcome] = sqlite_studio.deliver()

    assert outcome.state is JobState.SUCCEEDED
    assert "fox-2.png" in sqlite_studio.files()
    assert "nowhere.png" not in sqlite_studio.files()


def test_a_whole_drain_of_one_name_gets_a_name_each(studio: Any) -> None:
    ids = [studio.desk.submit() for _ in range(64)]
    for _ in ids:
        studio.desk.generate(studio.desk.must_claim())

    outcomes = studio.deliver()

    assert {each.state for each in outcomes} == {JobState.SUCCEEDED}
    names = [name for name in studio.files() if name.endswith(".png")]
    assert sorted(names) == sorted(numbered("fox.png", n) for n in range(1, 65))
    for name in names:
        path = str(studio.desk.folder / name)
        [owner] = [each for each in ids if studio.desk.job(each).output_path == path]
        assert studio.sidecar(f"{name}.json")["job_id"] == str(owner)


def test_names_are_kept_apart_in_a_folder_that_is_a_symlink_too(sqlite_studio: Any) -> None:
    sqlite_studio.desk.folder.with_name("real").mkdir()
    sqlite_studio.desk.folder.symlink_to("real")
    for _ in range(30):
        sqlite_studio.desk.submit()
        sqlite_studio.desk.generate(sqlite_studio.desk.must_claim())

    outcomes = sqlite_studio.deliver()

    assert [each.state for each in outcomes] == [JobState.SUCCEEDED] * 30
    assert len(sqlite_studio.files()) == 60


def test_a_drain_takes_at_most_sixty_four(sqlite_studio: Any) -> None:
    for _ in range(66):
        sqlite_studio.desk.submit()
        sqlite_studio.desk.generate(sqlite_studio.desk.must_claim(), data=b"no image")

    assert [len(sqlite_studio.deliver()) for _ in range(3)] == [64, 2, 0]


def test_an_explicit_output_is_replaced_and_never_half_there(sqlite_studio: Any) -> None:
    folder: Path = sqlite_studio.desk.folder
    folder.mkdir()
    (folder / "mine.png").write_bytes(b"the old one")
    old = (folder / "mine.png").stat().st_ino
    sqlite_studio.desk.generated(output=Output(str(folder), "mine.png", replace=True))

    sqlite_studio.deliver()

    assert sqlite_studio.files() == ["mine.png", "mine.png.json"]
    assert (folder / "mine.png").read_bytes().startswith(b"\x89PNG")
    # Another inode: the new file took the name in one step.
    assert (folder / "mine.png").stat().st_ino != old


def test_an_explicit_output_is_written_under_exactly_its_name(sqlite_studio: Any) -> None:
    output = Output(str(sqlite_studio.desk.folder), "a {ext} fox.png", replace=True)
    sqlite_studio.desk.generated(output=output)

    sqlite_studio.deliver()

    assert sqlite_studio.files() == ["a {ext} fox.png", "a {ext} fox.png.json"]


def test_an_explicit_output_that_is_a_folder_fails_and_keeps_the_image(
    sqlite_studio: Any,
) -> None:
    folder: Path = sqlite_studio.desk.folder
    (folder / "mine.png").mkdir(parents=True)
    job_id = sqlite_studio.desk.generated(output=Output(str(folder), "mine.png", replace=True))

    [outcome] = sqlite_studio.deliver()

    assert outcome.state is JobState.FAILED
    assert "is a folder" in str(outcome.error)
    assert sqlite_studio.desk.row(job_id).phase == "deliver"
    assert len(sqlite_studio.desk.artifact_rows()) == 1


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
        import imagen.services.deliver as deliver

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
        patch.setattr(f"imagen.services.deliver.{step}", fail)
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


def test_bytes_that_are_no_image_fail_their_own_job_only(sqlite_studio: Any) -> None:
    bad, good = sqlite_studio.desk.submit(), sqlite_studio.desk.submit()
    sqlite_studio.desk.generate(sqlite_studio.desk.must_claim(), data=b"<html>no</html>")
    sqlite_studio.desk.generate(sqlite_studio.desk.must_claim())

    sqlite_studio.deliver()

    assert sqlite_studio.desk.state(good) is JobState.SUCCEEDED
    assert sqlite_studio.desk.job(bad).error_code == "delivery"


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

    monkeypatch.setattr("imagen.services.deliver.place", lose)

    assert studio.deliver() == []

    assert studio.desk.state(job_id) is JobState.GENERATED
    assert studio.publisher.names(job_id) == []
