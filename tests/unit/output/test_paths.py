"""An image goes where images may go, and nowhere else."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from imagen.errors import RequestError
from imagen.output.paths import check_length, check_target


def test_a_path_in_a_folder_that_does_not_exist_yet_is_fine(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "fox.png"

    assert check_target(target, allowed_dirs=[tmp_path]) == target
    assert not target.parent.exists()


def test_a_user_s_own_command_writes_anywhere(tmp_path: Path) -> None:
    target = tmp_path / ".cache" / ".fox.webp"

    assert check_target(target, allowed_dirs=None) == target


def test_a_relative_path_is_made_absolute(tmp_path: Path) -> None:
    assert check_target("fox.JPEG", allowed_dirs=None) == tmp_path / "fox.JPEG"


@pytest.mark.parametrize(
    "name", ["fox", "fox.sh", "fox.png.sh", ".png", "fox.gif", "authorized_keys"]
)
def test_only_image_suffixes_are_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="image suffix"):
        check_target(tmp_path / name, allowed_dirs=None)


@pytest.mark.parametrize("path", ["/etc/fox.png", "{dir}/../fox.png", "{dir}x/fox.png"])
def test_a_path_outside_the_allowed_folders_is_refused(tmp_path: Path, path: str) -> None:
    allowed = tmp_path / "pictures"

    with pytest.raises(RequestError, match="outside"):
        check_target(path.replace("{dir}", str(allowed)), allowed_dirs=[allowed])


def test_no_allowed_folder_allows_nothing(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"\(none\)"):
        check_target(tmp_path / "fox.png", allowed_dirs=[])


@pytest.mark.parametrize("path", [".fox.png", ".ssh/fox.png", "a/.git/b/fox.png"])
def test_hidden_files_and_folders_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(RequestError, match="hidden"):
        check_target(tmp_path / path, allowed_dirs=[tmp_path])


def test_a_hidden_folder_that_is_itself_allowed_is_fine(tmp_path: Path) -> None:
    hidden = tmp_path / ".cache"

    assert check_target(hidden / "fox.png", allowed_dirs=[tmp_path, hidden])


def test_a_symlink_out_of_the_allowed_folders_is_refused(tmp_path: Path) -> None:
    allowed = tmp_path / "pictures"
    allowed.mkdir()
    (allowed / "out").symlink_to(tmp_path)

    with pytest.raises(RequestError, match="outside"):
        check_target(allowed / "out" / "fox.png", allowed_dirs=[allowed])


def test_a_symlink_with_an_image_s_name_does_not_lead_to_something_else(tmp_path: Path) -> None:
    (tmp_path / "fox.png").symlink_to(tmp_path / "script.sh")

    with pytest.raises(RequestError, match="leads to"):
        check_target(tmp_path / "fox.png", allowed_dirs=None)


def test_symlinks_within_the_allowed_folders_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    target = check_target(tmp_path / "link" / "fox.png", allowed_dirs=[tmp_path / "link"])

    assert target == tmp_path / "real" / "fox.png"


def test_a_circle_of_symlinks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")

    with pytest.raises(RequestError):
        check_target(tmp_path / "a" / "fox.png", allowed_dirs=None)


def test_a_folder_with_the_wanted_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fox.png").mkdir()

    with pytest.raises(RequestError, match="is a folder"):
        check_target(tmp_path / "fox.png", allowed_dirs=None)


def test_a_pipe_with_the_wanted_name_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fox.png")

    with pytest.raises(RequestError, match="no regular file"):
        check_target(tmp_path / "fox.png", allowed_dirs=None)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(RequestError, match="file', which is a file"):
        check_target(tmp_path / "file" / "deep" / "fox.png", allowed_dirs=None)


def test_an_existing_image_is_fine(tmp_path: Path) -> None:
    (tmp_path / "fox.png").touch()

    assert check_target(tmp_path / "fox.png", allowed_dirs=None)


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a\x00b.png"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError):
        check_target(tmp_path / name, allowed_dirs=None)


@pytest.mark.parametrize(
    ("name_bytes", "sidecar", "numbered", "fits"),
    [
        (255, False, False, True),
        (256, False, False, False),
        (250, True, False, True),
        (251, True, False, False),
        (243, True, True, True),
        (244, True, True, False),
    ],
)
def test_a_name_has_room_for_its_sidecar_and_its_number(
    name_bytes: int, sidecar: bool, numbered: bool, fits: bool
) -> None:
    path = Path("/tmp", "ä" * ((name_bytes - 4) // 2) + "a" * (name_bytes % 2) + ".png")
    with contextlib.nullcontext() if fits else pytest.raises(RequestError, match="may have 255"):
        check_length(path, sidecar=sidecar, numbered=numbered)


def test_a_path_has_room_for_all_that_is_written_beside_it() -> None:
    folder = Path("/" + "/".join(["d" * 200] * 20))
    room = 4_095 - len(str(folder)) - 1

    check_length(folder / ("a" * (room - 9) + ".png"), sidecar=True)
    for path in (folder / ("a" * (room - 8) + ".png"), folder / ("b" * 20) / "x.png"):
        with pytest.raises(RequestError, match="a path may have 4,095 bytes"):
            check_length(path, sidecar=True)


def test_no_folder_on_the_way_is_longer_than_a_name_may_be() -> None:
    with pytest.raises(RequestError, match="too long"):
        check_length(Path("/tmp", "d" * 256, "x.png"), sidecar=False)
