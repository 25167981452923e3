"""The name an image gets: nobody else's file is ever written over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from imagen.domain.job import JobState, Output
from imagen.domain.scope import Scope
from imagen.ledger.jobs.cancel_and_retry import redirect_job, retry_jobs
from imagen.output.naming import numbered


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


def test_an_undeliverable_job_is_delivered_elsewhere_without_being_drawn_again(studio: Any) -> None:
    folder: Path = studio.desk.folder
    (folder / "mine.png").mkdir(parents=True)
    job_id = studio.desk.generated(output=Output(str(folder), "mine.png", replace=True))
    studio.deliver()
    other = Output(str(folder), "other.webp", replace=True)

    assert redirect_job(studio.desk.ledger, job_id, other, image_format="webp")
    retry_jobs(studio.desk.ledger, Scope(job_ids=(job_id,)))
    [outcome] = studio.deliver()

    assert outcome.state is JobState.SUCCEEDED
    assert studio.desk.row(job_id).output_path == str(folder / "other.webp")
    assert len(studio.desk.attempts(job_id)) == 1
    assert not redirect_job(studio.desk.ledger, job_id, other, image_format="webp")
