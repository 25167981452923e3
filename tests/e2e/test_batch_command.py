"""``imagen batch`` killed, doubled and interrupted: each row is drawn once, whatever happens."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROWS = 100
PATIENCE_S = 120.0


@pytest.fixture
def prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of prompts, some of them twice, and a backend that takes its time over each."""
    config = tmp_path / "imagen.yaml"
    config.write_text("backends:\n  steady: {type: mock, latency_ms: 15}\n")
    monkeypatch.setenv("IMAGEN_CONFIG", str(config))
    path = tmp_path / "prompts.txt"
    path.write_text("".join(f"a fox, number {n % (ROWS - 10)}\n" for n in range(ROWS)))
    return path


def _start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "imagen", "batch", "prompts.txt"),
            *("--backend", "steady", "--size", "64x64", "--output-dir", "out", *words),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    with process:
        return process.communicate(timeout=PATIENCE_S)


def _images(folder: Path) -> list[Path]:
    return sorted((folder / "out").glob("*.png"))


def _assert_each_row_once(folder: Path) -> None:
    """One image and one sidecar a row, each of a job of its own, and nothing else."""
    images = _images(folder)
    sidecars = [json.loads(path.read_text()) for path in (folder / "out").glob("*.png.json")]
    assert len(images) == ROWS
    assert Counter(each["job_id"] for each in sidecars).most_common(1)[0][1] == 1
    assert {each["file"] for each in sidecars} == {path.name for path in images}
    assert len(list((folder / "out").iterdir())) == 2 * ROWS
    drawn = Counter(each["prompt"] for each in sidecars)
    assert sorted(drawn.values()) == [1] * (ROWS - 20) + [2] * 10


def test_killed_at_random_and_run_again_it_draws_each_row_once(prompts, tmp_path):
    chance = random.Random(7)
    wanted = sorted(chance.sample(range(5, ROWS - 10), 5))
    for number in wanted:
        process = _start()
        until_s = time.monotonic() + PATIENCE_S
        while len(_images(tmp_path)) < number and process.poll() is None:
            assert time.monotonic() < until_s
            time.sleep(0.005)
        process.kill()
        _finish(process)
    last = _start("--json")
    out, _ = _finish(last)

    assert last.returncode == 0
    assert json.loads(out)["total"] == ROWS
    _assert_each_row_once(tmp_path)


def test_two_runs_at_once_share_the_rows(prompts, tmp_path):
    pair = [_start(), _start()]
    for process in pair:
        _finish(process)

    assert [process.returncode for process in pair] == [0, 0]
    _assert_each_row_once(tmp_path)


def test_of_two_runs_at_once_one_may_be_killed(prompts, tmp_path):
    survivor, victim = _start(), _start()
    until_s = time.monotonic() + PATIENCE_S
    while len(_images(tmp_path)) < ROWS // 3 and survivor.poll() is None:
        assert time.monotonic() < until_s
        time.sleep(0.005)
    victim.kill()
    _finish(victim)
    _finish(survivor)

    assert survivor.returncode == 0
    _assert_each_row_once(tmp_path)


def test_an_interrupted_run_names_the_command_that_goes_on(prompts, tmp_path):
    process = _start()
    until_s = time.monotonic() + PATIENCE_S
    while len(_images(tmp_path)) < 5:
        assert time.monotonic() < until_s
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = _finish(process)

    assert process.returncode == 130
    assert "not drawn yet" in err
    assert "imagen batch prompts.txt --backend steady" in err
    assert "Traceback" not in err
    _finish(_start())
    _assert_each_row_once(tmp_path)
