"""A name stands for a whole file or for none."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagen.errors import DeliveryError
from imagen.output.write import move_into_place, sweep_temps, sync_files, sync_folder, write_temp


def test_a_file_is_written_step_by_step(tmp_path: Path) -> None:
    final = tmp_path / "new" / "folder" / "fox.png"

    temp = write_temp(final.parent, b"image", tag="job-1")
    sync_files([temp])
    move_into_place(temp, final, replace=False)
    sync_folder(final.parent)

    assert final.read_bytes() == b"image"
    assert list(final.parent.iterdir()) == [final]


def test_a_temporary_file_is_hidden_and_in_the_same_folder(tmp_path: Path) -> None:
    temp = write_temp(tmp_path, b"image", tag="desk/../1")

    assert temp.parent == tmp_path
    assert temp.name.startswith(".imagen-desk____1-")
    assert temp.name.endswith(".tmp")


def test_a_file_gets_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        temp = write_temp(tmp_path, b"image", tag="t")
    finally:
        os.umask(before)

    assert temp.stat().st_mode & 0o777 == 0o640


def test_an_existing_file_is_not_overwritten_and_the_new_one_not_lost(tmp_path: Path) -> None:
    final = tmp_path / "fox.png"
    final.write_bytes(b"old")
    temp = write_temp(tmp_path, b"new", tag="t")

    with pytest.raises(FileExistsError):
        move_into_place(temp, final, replace=False)

    assert final.read_bytes() == b"old"
    move_into_place(temp, tmp_path / "fox-2.png", replace=False)
    assert (tmp_path / "fox-2.png").read_bytes() == b"new"


def test_an_existing_file_is_replaced_when_asked(tmp_path: Path) -> None:
    final = tmp_path / "fox.png"
    final.write_bytes(b"old")

    move_into_place(write_temp(tmp_path, b"new", tag="t"), final, replace=True)

    assert final.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [final]


def test_a_dangling_symlink_counts_as_existing(tmp_path: Path) -> None:
    (tmp_path / "fox.png").symlink_to(tmp_path / "nothing.png")
    temp = write_temp(tmp_path, b"new", tag="t")

    with pytest.raises(FileExistsError):
        move_into_place(temp, tmp_path / "fox.png", replace=False)


@pytest.fixture(params=[errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def no_hard_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system such as FAT, which cannot be had in a test without being root."""

    def refuse(source: Path, target: Path) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("no_hard_links")
def test_without_hard_links_files_are_placed_all_the_same(tmp_path: Path) -> None:
    final = tmp_path / "fox.png"

    move_into_place(write_temp(tmp_path, b"image", tag="t"), final, replace=False)

    assert final.read_bytes() == b"image"
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.usefixtures("no_hard_links")
def test_without_hard_links_nothing_is_overwritten_either(tmp_path: Path) -> None:
    final = tmp_path / "fox.png"
    final.write_bytes(b"old")
    temp = write_temp(tmp_path, b"new", tag="t")

    with pytest.raises(FileExistsError):
        move_into_place(temp, final, replace=False)

    assert final.read_bytes() == b"old"
    assert temp.read_bytes() == b"new"


def test_a_folder_with_the_wanted_name_is_named(tmp_path: Path) -> None:
    final = tmp_path / "fox.png"
    final.mkdir()
    temp = write_temp(tmp_path, b"new", tag="t")

    with pytest.raises(DeliveryError, match=r"fox\.png"):
        move_into_place(temp, final, replace=True)

    assert not temp.exists()


@pytest.mark.parametrize("replace", [True, False])
def test_a_name_too_long_is_named_and_leaves_nothing(tmp_path: Path, replace: bool) -> None:
    temp = write_temp(tmp_path, b"new", tag="t")

    with pytest.raises(DeliveryError, match="shorten"):
        move_into_place(temp, tmp_path / ("x" * 300), replace=replace)

    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DeliveryError, match="a file stands where a folder is needed"):
        write_temp(tmp_path / "file" / "deep", b"image", tag="t")


def test_a_folder_that_cannot_be_written_is_explained() -> None:
    # /proc refuses even root, which tests may be run as.
    with pytest.raises(DeliveryError, match="cannot write to /proc"):
        write_temp(Path("/proc"), b"image", tag="t")


@pytest.fixture
def small_files_only() -> Iterator[None]:
    """No file may grow past 4 KiB, as if the disk were full. Python ignores SIGXFSZ by itself."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files_only")
def test_a_disk_that_fills_up_half_way_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="file size limit"):
        write_temp(tmp_path, b"x" * 10_000, tag="t")

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_saved_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match=r"cannot save .*gone\.tmp"):
        sync_files([write_temp(tmp_path, b"image", tag="t"), tmp_path / "gone.tmp"])


def test_what_the_dead_left_is_swept_by_its_tag(tmp_path: Path) -> None:
    mine = write_temp(tmp_path, b"1", tag="job-1")
    longer_tag = write_temp(tmp_path, b"2", tag="job-1-2")
    (tmp_path / ".imagen-job-1-notes.txt").touch()

    swept = sweep_temps(tmp_path, "job-1")

    assert swept == 1
    assert not mine.exists()
    assert longer_tag.exists()
    assert (tmp_path / ".imagen-job-1-notes.txt").exists()


def test_sweeping_a_folder_that_is_gone_is_fine(tmp_path: Path) -> None:
    assert sweep_temps(tmp_path / "gone", "job-1") == 0
