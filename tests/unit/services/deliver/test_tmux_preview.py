"""The preview: when it is wanted, what runs in its window, and complaints that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagen.errors import ImagenError
from imagen.services.deliver.tmux_preview import is_wanted, open_preview

PICTURE = Path("/pics/a red fox.png")


class Bench:
    """A folder of programs that note how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        self.env = {"PATH": str(folder), "TMUX": "/tmp/socket,1,0"}

    def install(self, name: str, *, says: str = "", code: int = 0) -> Path:
        path = self.folder / name
        path.write_text(
            "#!/bin/sh\n"
            f'for word in "$@"; do printf "%s\\0" "$word"; done > {self.folder}/called\n'
            f"echo '{says}' >&2\nexit {code}\n"
        )
        path.chmod(0o755)
        return path

    def called(self) -> list[str]:
        return (self.folder / "called").read_text().split("\0")[:-1]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "bin")
    bench.install("tmux")
    return bench


def show(bench: Bench, *, command: str = "", title: str = "A Red Fox!") -> list[str]:
    """How tmux was called."""
    open_preview(PICTURE, title=title, command=command, env=bench.env)
    return bench.called()


def test_the_window_is_in_the_background_and_named_by_the_prompt(bench: Bench) -> None:
    bench.install("tmux-img")

    words = show(bench)

    assert words[:5] == ["new-window", "-d", "-n", "img:a-red-fox", "--"]


def test_tmux_img_holds_the_picture_by_itself(bench: Bench) -> None:
    viewer = bench.install("tmux-img")
    bench.install("chafa")

    assert show(bench)[5:] == [str(viewer), "--hold", str(PICTURE)]


@pytest.mark.parametrize("name", ["chafa", "viu", "timg"])
def test_another_viewers_window_stays_until_a_key(bench: Bench, name: str) -> None:
    viewer = bench.install(name)

    shell, flag, script, _, *words = show(bench)[5:]

    assert (shell, flag) == ("sh", "-c")
    assert "any key" in script
    assert words == [str(viewer), str(PICTURE)]


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("feh", [str(PICTURE)]),
        ("feh --title 'my pics'", ["--title", "my pics", str(PICTURE)]),
        ("feh --at={path} -x", [f"--at={PICTURE}", "-x"]),
        ("feh -e run;", ["-e", "run\\;", str(PICTURE)]),
    ],
)
def test_a_configured_viewer_wins(bench: Bench, command: str, arguments: list[str]) -> None:
    bench.install("tmux-img")
    viewer = bench.install("feh")

    assert show(bench, command=command)[9:] == [str(viewer), *arguments]


def test_a_configured_tmux_img_keeps_its_own_words(bench: Bench) -> None:
    viewer = bench.install("tmux-img")

    assert show(bench, command="tmux-img --big")[5:] == [str(viewer), "--big", str(PICTURE)]


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("", r"no viewer is installed.*preview_command"),
        ("sxiv -f", r"viewer 'sxiv' is not installed"),
        ("sxiv 'half", r"preview_command cannot be read"),
    ],
)
def test_a_missing_viewer_is_named(bench: Bench, command: str, complaint: str) -> None:
    with pytest.raises(ImagenError, match=complaint):
        show(bench, command=command)


def test_outside_tmux_it_says_so(bench: Bench) -> None:
    bench.install("tmux-img")
    del bench.env["TMUX"]

    with pytest.raises(ImagenError, match="not inside tmux"):
        show(bench)


def test_without_tmux_it_says_so(bench: Bench) -> None:
    bench.install("tmux-img")
    (bench.folder / "tmux").unlink()

    with pytest.raises(ImagenError, match="tmux is not installed"):
        show(bench)


def test_what_tmux_says_is_told(bench: Bench) -> None:
    bench.install("tmux-img")
    bench.install("tmux", says="no server running", code=1)

    with pytest.raises(ImagenError, match="no server running"):
        show(bench)


@pytest.mark.parametrize(
    ("setting", "is_terminal", "tmux", "viewer", "wanted"),
    [
        ("auto", True, True, True, True),
        ("auto", False, True, True, False),
        ("auto", True, False, True, False),
        ("auto", True, True, False, False),
        ("on", False, False, False, True),
        ("off", True, True, True, False),
    ],
)
def test_auto_is_for_a_person_inside_tmux_who_has_a_viewer(
    bench: Bench, setting: str, is_terminal: bool, tmux: bool, viewer: bool, wanted: bool
) -> None:
    env: dict[str, Any] = bench.env if tmux else {"PATH": bench.env["PATH"]}
    if viewer:
        bench.install("viu")

    assert is_wanted(setting, command="", env=env, is_terminal=is_terminal) is wanted
