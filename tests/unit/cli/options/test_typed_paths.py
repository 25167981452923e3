"""Paths as a command's user gives them."""

from __future__ import annotations

import pytest

from imagen.cli.options.typed_paths import absolute, explicit_output
from imagen.errors import RequestError
from imagen.services.submit.delivery_folders import require_writable


def test_a_path_is_seen_from_the_working_directory(tmp_path, isolated_home):
    assert absolute("a/b.png") == tmp_path / "a/b.png"
    assert absolute("~/b.png") == isolated_home / "b.png"


def test_looking_at_a_path_makes_nothing(tmp_path):
    explicit_output("new/folder/fox.png")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["fox", "fox.txt", "folder/"])
def test_what_is_no_image_file_is_refused(path):
    with pytest.raises(RequestError):
        explicit_output(path)


def test_a_folder_that_may_not_be_written_is_refused(tmp_path, monkeypatch):
    # As root everything may be written, so the kernel's answer is given here.
    monkeypatch.setattr("imagen.services.submit.delivery_folders.os.access", lambda *_: False)
    with pytest.raises(RequestError, match="no permission"):
        require_writable(tmp_path / "new")
