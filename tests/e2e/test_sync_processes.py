"""``imagen sync`` among other processes that send: killed ones, and another sync."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.supabase import FakeSupabase, SupabaseFault

OWNER = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
CONFIG = f"""
owner_user_id: {OWNER}
backends:
  paid: {{type: mock, cost_usd: 0.003}}
"""
FOX = ("generate", "a red fox", "--backend", "paid", "--size", "64x64")
#: Longer than any of these steps takes, and shorter than a lease in the outbox lasts.
_DEADLINE_S = 60.0


@pytest.fixture
def fake() -> Iterator[FakeSupabase]:
    with FakeSupabase() as running:
        running.world.slow_s = 300.0
        yield running


@pytest.fixture
def begin(
    fake: FakeSupabase, tmp_path: Path, isolated_home: Path
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``imagen …`` as a process of its own."""
    config = tmp_path / "imagen.yaml"
    config.write_text(CONFIG)
    started: list[subprocess.Popen[str]] = []

    def begin_(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "imagen", *words],
            env={**os.environ, **fake.env, "IMAGEN_CONFIG": str(config)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin_
    for process in started:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code and what was said."""
    out, err = process.communicate(timeout=_DEADLINE_S)
    return process.returncode, out + err


def wait_until(is_so: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + _DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def leave_one_unsent(begin: Any, fake: FakeSupabase) -> None:
    fake.go_down()
    assert finish(begin(*FOX, "--no-cloud"))[0] == 0
    fake.come_back()


def test_what_a_killed_sync_was_sending_is_sent_by_the_next_one_at_once(
    begin: Any, fake: FakeSupabase
) -> None:
    leave_one_unsent(begin, fake)
    fake.inject(SupabaseFault.SLOW, times=None)
    calls = len(fake.calls)
    killed = begin("sync")
    wait_until(lambda: len(fake.calls) > calls)
    killed.send_signal(signal.SIGKILL)
    killed.wait(timeout=_DEADLINE_S)
    fake.heal()

    code, said = finish(begin("sync"))

    assert (code, said.strip()) == (0, "1 sent")


def test_of_two_syncs_at_once_the_second_waits_and_reports_what_the_first_sent(
    begin: Any, fake: FakeSupabase
) -> None:
    leave_one_unsent(begin, fake)
    # Long enough for the second one to start on a loaded machine.
    fake.world.slow_s = 12.0
    fake.inject(SupabaseFault.SLOW, times=1)
    calls = len(fake.calls)
    first = begin("sync")
    wait_until(lambda: len(fake.calls) > calls)

    second = begin("sync")

    code, said = finish(second)
    *progress, last = said.splitlines()
    assert (code, last) == (0, "1 sent, 1 of them by another process")
    assert set(progress) <= {"1 of 1 still to send; another process is sending 1"}
    code, said = finish(first)
    *progress, last = said.splitlines()
    assert (code, last) == (0, "1 sent")
    assert set(progress) <= {"1 of 1 still to send"}
    assert len(fake.rows("mai", "imagen_usage")) == 1


def test_a_sync_that_is_killed_while_another_waits_leaves_its_work_to_it(
    begin: Any, fake: FakeSupabase
) -> None:
    leave_one_unsent(begin, fake)
    fake.inject(SupabaseFault.SLOW, times=1)
    calls = len(fake.calls)
    first = begin("sync")
    wait_until(lambda: len(fake.calls) > calls)
    second = begin("sync")
    # It says so every five seconds.
    wait_until(lambda: "another process is sending 1" in (second.stderr.readline() or ""))

    first.kill()

    assert finish(second)[0] == 0
