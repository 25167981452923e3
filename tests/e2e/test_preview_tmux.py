"""The preview as a person sees it: ``imagen generate`` typed in a real tmux."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

PATIENCE_S = 60.0


class Tmux:
    """A tmux server of the test's own, with one window called ``main``."""

    def __init__(self, programs: Path) -> None:
        # A socket's path has a hundred bytes, which a test's own folder may take alone.
        self._folder = Path(tempfile.mkdtemp(prefix="imagen-tmux-"))
        self.programs = programs
        env = {key: value for key, value in os.environ.items() if not key.startswith("TMUX")}
        env["PATH"] = f"{programs}:{env['PATH']}"
        self._env = env
        self("new-session", "-d", "-s", "main", "-n", "main", "-x", "160", "-y", "50", "sh")

    def __call__(self, *words: str) -> str:
        return subprocess.run(
            ["tmux", "-S", str(self._folder / "s"), "-f", "/dev/null", *words],
            env=self._env,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout

    def type(self, *words: str) -> None:
        self("send-keys", "-t", "main:main", "-l", "--", " ".join(words))
        self("send-keys", "-t", "main:main", "Enter")

    def windows(self) -> list[str]:
        return self("list-windows", "-t", "main", "-F", "#{window_name}").split()

    def screen(self, window: str) -> str:
        return self("capture-pane", "-p", "-J", "-t", f"main:={window}")

    def close(self) -> None:
        self("kill-server")
        shutil.rmtree(self._folder)


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    server = Tmux(tmp_path / "bin")
    server.programs.mkdir()
    yield server
    server.close()


def install(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def generate(*words: str) -> tuple[str, ...]:
    draw = f"{sys.executable} -m imagen generate --backend mock --size 64x64"
    return draw, *words, "; echo code=$?"


def has_ended(tmux: Tmux) -> bool:
    return "code=" in tmux.screen("main").replace("echo code=", "")


def test_the_image_is_shown_in_a_window_behind(tmux: Tmux) -> None:
    install(tmux.programs, "tmux-img", 'echo "shown: $@"; exec cat')

    tmux.type(*generate("'a red fox'"))
    wait_until(
        lambda: "img:a-red-fox" in tmux.windows(), what="the screen is so", timeout_s=PATIENCE_S
    )
    wait_until(lambda: has_ended(tmux), what="the screen is so", timeout_s=PATIENCE_S)

    assert "code=0" in tmux.screen("main")
    wait_until(
        lambda: "shown: --hold /" in tmux.screen("img:a-red-fox"),
        what="the screen is so",
        timeout_s=PATIENCE_S,
    )
    assert "a-red-fox-" in tmux.screen("img:a-red-fox")
    active = tmux("display-message", "-p", "-t", "main", "#{window_name}").strip()
    assert active == "main"


def test_another_viewers_window_stays_until_a_key_is_pressed(tmux: Tmux) -> None:
    install(tmux.programs, "chafa", 'echo "a picture of ${1##*/}"')

    tmux.type(*generate("'a red fox'", "--preview"))
    wait_until(
        lambda: "img:a-red-fox" in tmux.windows(), what="the screen is so", timeout_s=PATIENCE_S
    )
    wait_until(
        lambda: "any key" in tmux.screen("img:a-red-fox"),
        what="the screen is so",
        timeout_s=PATIENCE_S,
    )
    assert "a picture of" in tmux.screen("img:a-red-fox")
    tmux("send-keys", "-t", "main:=img:a-red-fox", "x")

    wait_until(
        lambda: "img:a-red-fox" not in tmux.windows(), what="the screen is so", timeout_s=PATIENCE_S
    )


def test_the_window_opens_in_the_session_that_asked(tmux: Tmux) -> None:
    install(tmux.programs, "tmux-img", "exec cat")
    tmux("new-session", "-d", "-s", "other", "cat")

    tmux.type(*generate("'a red fox'"))
    wait_until(lambda: has_ended(tmux), what="the screen is so", timeout_s=PATIENCE_S)

    assert "img:a-red-fox" in tmux.windows()
    assert "img:a-red-fox" not in tmux("list-windows", "-t", "other", "-F", "#{window_name}")


def test_no_preview_opens_nothing(tmux: Tmux) -> None:
    install(tmux.programs, "tmux-img", "exec cat")

    tmux.type(*generate("'a red fox'", "--no-preview"))
    wait_until(lambda: has_ended(tmux), what="the screen is so", timeout_s=PATIENCE_S)

    assert tmux.windows() == ["main"]


def test_a_preview_that_fails_changes_neither_answer_nor_exit_code() -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("TMUX")}
    words = ("generate", "a red fox", "--backend", "mock", "--size", "64x64", "--preview")

    done = subprocess.run(
        [sys.executable, "-m", "imagen", *words],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )

    assert done.returncode == 0
    assert Path(done.stdout.strip()).is_file()
    assert "imagen: preview: not inside tmux" in done.stderr
