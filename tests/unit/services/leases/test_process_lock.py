"""A dead process is known by the lock it no longer holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imagen.services.leases import process_lock

_STAY = """
import sys
from pathlib import Path
from imagen.services.leases.process_lock import enter
kept = enter(Path(sys.argv[1]), sys.argv[2])
print("here", flush=True)
sys.stdin.read()
"""


@contextmanager
def somebody(folder: Path, owner: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of ``owner``."""
    process = subprocess.Popen(
        [sys.executable, "-c", _STAY, str(folder), owner],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "here\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_owners_of_two_starts_are_never_the_same() -> None:
    assert len({process_lock.new_owner("host") for _ in range(1000)}) == 1000


def test_the_living_are_not_among_the_dead(tmp_path: Path) -> None:
    here = process_lock.enter(tmp_path / "owners", "me")
    try:
        assert process_lock.dead_among(tmp_path / "owners", ["me"]) == set()
    finally:
        here.leave()


def test_a_killed_process_is_among_the_dead_at_once(tmp_path: Path) -> None:
    with somebody(tmp_path, "host:1:ab") as process:
        assert process_lock.dead_among(tmp_path, ["host:1:ab"]) == set()

        process.send_signal(signal.SIGKILL)
        process.wait()

    assert process_lock.dead_among(tmp_path, ["host:1:ab"]) == {"host:1:ab"}


def test_a_stopped_process_is_alive(tmp_path: Path) -> None:
    with somebody(tmp_path, "host:1:ab") as process:
        process.send_signal(signal.SIGSTOP)

        assert process_lock.dead_among(tmp_path, ["host:1:ab"]) == set()


def test_of_other_hosts_nothing_is_said(tmp_path: Path) -> None:
    assert process_lock.dead_among(tmp_path, ["elsewhere:1:ab"]) == set()
    assert process_lock.dead_among(tmp_path / "missing", ["elsewhere:1:ab"]) == set()


def test_who_leaves_is_not_called_dead(tmp_path: Path) -> None:
    process_lock.enter(tmp_path, "me").leave()

    assert list(tmp_path.iterdir()) == []
    assert process_lock.dead_among(tmp_path, ["me"]) == set()


def test_leaving_when_the_file_is_gone_is_no_error(tmp_path: Path) -> None:
    here = process_lock.enter(tmp_path, "me")
    here.path.unlink()

    here.leave()


def test_the_sweep_removes_the_dead_that_hold_nothing(tmp_path: Path) -> None:
    for owner in ("dead", "dead but leasing"):
        left = process_lock.enter(tmp_path, owner)
        os.close(left.handle)
    alive = process_lock.enter(tmp_path, "alive")

    process_lock.sweep(tmp_path, still_leasing=["dead but leasing"])

    assert process_lock.dead_among(tmp_path, ["dead", "dead but leasing", "alive"]) == {
        "dead but leasing"
    }
    assert alive.path.exists()
    alive.leave()


def test_the_sweep_of_a_missing_folder_is_no_error(tmp_path: Path) -> None:
    process_lock.sweep(tmp_path / "missing", still_leasing=[])


@pytest.mark.parametrize("owner", ["a/b:1:ab", "..:1:ab", "host name:1:ab", "höst:1:ab"])
def test_any_host_name_makes_a_lock_file(tmp_path: Path, owner: str) -> None:
    left = process_lock.enter(tmp_path / "owners", owner)
    os.close(left.handle)

    assert process_lock.dead_among(tmp_path / "owners", [owner]) == {owner}
    process_lock.sweep(tmp_path / "owners", still_leasing=[owner])
    assert process_lock.dead_among(tmp_path / "owners", [owner]) == {owner}
    assert [path.name for path in tmp_path.iterdir()] == ["owners"]


def test_a_sweep_while_somebody_enters_does_not_stop_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making its file and locking it, a process looks as dead as any."""
    real = process_lock.fcntl.flock
    swept = False

    def be_swept(handle: int, operation: int) -> None:
        nonlocal swept
        if not swept:
            swept = True
            process_lock.sweep(tmp_path, still_leasing=[])
        real(handle, operation)

    monkeypatch.setattr(process_lock.fcntl, "flock", be_swept)

    here = process_lock.enter(tmp_path, "me")

    assert here.path.exists()
    here.leave()


def test_a_child_does_not_keep_its_dead_parent_alive(tmp_path: Path) -> None:
    here = process_lock.enter(tmp_path, "me")
    child = subprocess.Popen(["sleep", "60"])
    try:
        os.close(here.handle)

        assert process_lock.dead_among(tmp_path, ["me"]) == {"me"}
    finally:
        child.kill()
        child.wait()
