"""Who asks: the message's sender, the pane's name, or whoever is logged in."""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from imagen.services.submit.caller import resolve_caller

Tmux = Callable[..., str]


@pytest.fixture
def pane(tmp_path: Path) -> Iterator[tuple[Tmux, Mapping[str, str]]]:
    """A real tmux with one pane, and the environment of what runs in it."""
    import os
    import shutil
    import tempfile

    # A socket's path has a hundred bytes, which a test's own folder may take alone.
    folder = Path(tempfile.mkdtemp(prefix="imagen-tmux-"))
    socket = str(folder / "s")

    def tmux(*words: str) -> str:
        return subprocess.run(
            ["tmux", "-S", socket, "-f", "/dev/null", *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout.strip()

    tmux("new-session", "-d", "-s", "main", "cat")
    pane_id = tmux("list-panes", "-F", "#{pane_id}")
    yield tmux, {**os.environ, "TMUX": f"{socket},1,0", "TMUX_PANE": pane_id}
    tmux("kill-server")
    shutil.rmtree(folder)


def test_the_senders_id_comes_first(pane: tuple[Tmux, Mapping[str, str]]) -> None:
    tmux, env = pane
    tmux("set-option", "-p", "-t", env["TMUX_PANE"], "@mai-name", "drafter")

    assert resolve_caller({**env, "MAI_FROM_ID": " agent-7 "}) == "agent-7"


def test_the_panes_name_comes_second(pane: tuple[Tmux, Mapping[str, str]]) -> None:
    tmux, env = pane
    tmux("set-option", "-p", "-t", env["TMUX_PANE"], "@mai-name", "drafter")

    assert resolve_caller(env) == "drafter"
    assert resolve_caller({**env, "MAI_FROM_ID": " "}) == "drafter"


def test_the_name_is_that_of_the_pane_we_are_in(pane: tuple[Tmux, Mapping[str, str]]) -> None:
    tmux, env = pane
    tmux("set-option", "-p", "-t", env["TMUX_PANE"], "@mai-name", "drafter")
    other = tmux("split-window", "-d", "-P", "-F", "#{pane_id}", "cat")

    assert resolve_caller({**env, "TMUX_PANE": other}) == getpass.getuser()


def test_a_pane_without_a_name_is_the_users(pane: tuple[Tmux, Mapping[str, str]]) -> None:
    _, env = pane

    assert resolve_caller(env) == getpass.getuser()


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"TMUX_PANE": "%0"},
        {"TMUX": "/nowhere/s,1,0", "TMUX_PANE": "%0", "PATH": "/usr/bin:/bin"},
        {"TMUX": "/nowhere/s,1,0", "TMUX_PANE": "%0", "PATH": "/nowhere"},
    ],
)
def test_without_a_tmux_that_answers_it_is_the_user(env: dict[str, str]) -> None:
    assert resolve_caller(env) == getpass.getuser()


def test_a_user_without_a_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise KeyError("no such uid")

    monkeypatch.setattr("getpass.getuser", fail)

    assert resolve_caller({}) == "unknown"
