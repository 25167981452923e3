"""A delivery killed at any step is finished by the next one: one file, one sidecar, no more."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from imagen.domain.job import JobState
from tests.processes.kill_points import DELIVERY_STEPS

#: No usage is recorded here.
STEPS = [step for step in DELIVERY_STEPS if not step.endswith(".record_usage")]


class Killed(BaseException):
    """No handler of the program catches this, as none sees a SIGKILL."""


def die_at(real: Callable[..., Any], *, turn: int, after: bool) -> Callable[..., Any]:
    calls = 0

    def dying(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == turn and not after:
            raise Killed
        found = real(*args, **options)
        if calls == turn:
            raise Killed
        return found

    return dying


def resolve(name: str) -> Any:
    from importlib import import_module

    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def deliver_all(studio: Any) -> None:
    """Another process comes, and yet another, until nothing is left to deliver."""
    for owner in ("two", "three", "four"):
        studio.deliver(owner)


@pytest.mark.usefixtures("kept_as_files")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_a_delivery_killed_at_any_step_is_finished_by_the_next(
    sqlite_studio: Any, monkeypatch: pytest.MonkeyPatch, step: str, turn: int, after: bool
) -> None:
    studio = sqlite_studio
    ids = [studio.desk.submit() for _ in range(2)]
    for _ in ids:
        studio.desk.generate(studio.desk.must_claim())
    with monkeypatch.context() as patch:
        patch.setattr(step, die_at(resolve(step), turn=turn, after=after))
        try:
            studio.deliver("killed")
        except Killed:
            pass
        else:
            assert turn == 2, f"{step} was not even reached once"
    for job_id in ids:
        if studio.desk.row(job_id).lease_owner:
            studio.desk.expire(job_id)

    deliver_all(studio)
    studio.reconciler("five").tick()

    assert [studio.desk.state(job_id) for job_id in ids] == [JobState.SUCCEEDED] * 2
    assert studio.files() == ["fox-2.png", "fox-2.png.json", "fox.png", "fox.png.json"]
    for job_id in ids:
        path = studio.desk.job(job_id).output_path
        sidecar = studio.sidecar(f"{path.rpartition('/')[2]}.json")
        assert sidecar["job_id"] == str(job_id)
        assert sidecar["sha256"] == studio.desk.job(job_id).file_sha256
    assert studio.desk.artifact_rows() == []


def test_a_name_taken_after_the_kill_is_not_overwritten(
    sqlite_studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = sqlite_studio
    job_id = studio.desk.generated()
    with monkeypatch.context() as patch:
        patch.setattr(
            "imagen.services.deliver.file_writer.write_temp", die_at(print, turn=1, after=False)
        )
        with pytest.raises(Killed):
            studio.deliver("killed")
    assert studio.desk.job(job_id).output_path.endswith("fox.png")
    studio.desk.folder.mkdir()
    (studio.desk.folder / "fox.png").write_bytes(b"somebody's")
    studio.desk.expire(job_id)

    studio.deliver("two")

    assert (studio.desk.folder / "fox.png").read_bytes() == b"somebody's"
    assert studio.desk.job(job_id).output_path.endswith("fox-2.png")


def test_a_name_taken_between_look_and_link_is_not_overwritten(
    sqlite_studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = sqlite_studio
    job_id = studio.desk.generated()
    real = resolve("imagen.services.deliver.file_writer.sync_files")

    def be_overtaken(paths: Any) -> None:
        real(paths)
        if not (studio.desk.folder / "fox.png").exists():
            (studio.desk.folder / "fox.png").write_bytes(b"somebody's")

    monkeypatch.setattr("imagen.services.deliver.file_writer.sync_files", be_overtaken)

    [outcome] = studio.deliver()

    assert outcome.state is JobState.SUCCEEDED
    assert (studio.desk.folder / "fox.png").read_bytes() == b"somebody's"
    assert studio.files() == ["fox-2.png", "fox-2.png.json", "fox.png"]
    assert studio.sidecar("fox-2.png.json")["file"] == "fox-2.png"
    assert studio.desk.job(job_id).output_path.endswith("fox-2.png")


def test_the_slow_twin_of_a_delivery_does_no_harm(
    sqlite_studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process stops for a minute right before it links; another delivers; the first goes on."""
    studio = sqlite_studio
    job_id = studio.desk.generated()
    real = resolve("imagen.services.deliver.file_writer.move_into_place")
    is_first = True

    def sleep_for_long(*args: Any, **options: Any) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            studio.desk.expire(job_id)
            assert studio.deliver("two")[0].state is JobState.SUCCEEDED
        real(*args, **options)

    monkeypatch.setattr("imagen.services.deliver.file_writer.move_into_place", sleep_for_long)

    studio.deliver("slow")

    assert studio.desk.state(job_id) is JobState.SUCCEEDED
    assert studio.files() == ["fox.png", "fox.png.json"]
    assert studio.sidecar("fox.png.json")["sha256"] == studio.desk.job(job_id).file_sha256


@pytest.mark.usefixtures("kept_as_files")
def test_an_image_that_was_drawn_again_replaces_its_own_earlier_try(
    sqlite_studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagen.backends.mock.drawing import draw_request

    studio = sqlite_studio
    job_id = studio.desk.generated()
    with monkeypatch.context() as patch:
        real = resolve("imagen.ledger.jobs.delivery.record_succeeded")
        patch.setattr(
            "imagen.ledger.jobs.delivery.record_succeeded", die_at(real, turn=1, after=False)
        )
        with pytest.raises(Killed):
            studio.deliver("killed")
    [artifact] = studio.desk.artifact_files()
    (studio.desk.ledger.artifact_folder / artifact).unlink()
    studio.desk.expire(job_id)
    studio.deliver("two")
    other = draw_request(studio.desk.request(seed=8))
    studio.desk.generate(studio.desk.must_claim("two"), data=other)

    studio.deliver("two")

    assert studio.files() == ["fox.png", "fox.png.json"]
    data = (studio.desk.folder / "fox.png").read_bytes()
    assert hashlib.sha256(data).hexdigest() == studio.desk.job(job_id).file_sha256
    assert studio.sidecar("fox.png.json")["sha256"] == studio.desk.job(job_id).file_sha256
