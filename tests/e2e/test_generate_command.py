"""``imagen generate`` as a process of its own: streams, signals, and what they leave behind."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.processes.commands import run_imagen, start_imagen
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

PATIENCE_S = 60.0


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A backend that takes a minute; ``calls.log`` gets a line for each image."""
    path = tmp_path / "imagen.yaml"
    path.write_text(
        "backends:\n"
        "  slow: {type: mock, latency_ms: 60000}\n"
        "  paid: {type: mock, latency_ms: 60000, cost_usd: 1}\n"
    )
    monkeypatch.setenv("IMAGEN_CONFIG", str(path))
    return path


@pytest.fixture(autouse=True)
def has_ledger(made_ledger: Path) -> None:
    """Every command here finds a ledger."""


@pytest.fixture
def is_running(made_ledger: Path) -> Callable[[], bool]:
    """Says whether a job is being drawn; looks by itself, since a command takes half a second."""

    def look() -> bool:
        with closing(sqlite3.connect(made_ledger, timeout=PATIENCE_S)) as connection:
            found = connection.execute("SELECT 1 FROM jobs WHERE state = 'running'").fetchone()
        return found is not None

    return look


def test_stdout_is_the_path_alone(tmp_path: Path):
    done = run_imagen("generate", "a lighthouse", "--backend", "mock", "--size", "64x64")

    assert done.returncode == 0
    assert done.stderr == ""
    assert Path(done.stdout.removesuffix("\n")).parent == tmp_path


def test_the_script_and_the_module_are_the_same_program():
    assert "Usage: imagen" in run_imagen("--help").stdout


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_job_says_how_to_go_on_and_does(slow, tmp_path, signum, code, is_running):
    with start_imagen("generate", "a fox", "--backend", "slow", "--size", "64x64") as process:
        wait_until(is_running, what="the job is drawn", timeout_s=PATIENCE_S)
        process.send_signal(signum)
        out, err = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == code
    assert out == ""
    assert "Traceback" not in err
    assert list(tmp_path.glob("*.png*")) == []
    advice = err.strip().rpartition("imagen jobs resume ")
    slow.write_text("backends:\n  slow: {type: mock}\n")
    resumed = run_imagen("jobs", "resume", advice[2])
    assert resumed.returncode == 0
    assert Path(resumed.stdout.strip()).exists()


def test_an_interrupted_job_is_given_back_at_once(slow, is_running):
    with start_imagen("generate", "a fox", "--backend", "slow", "--json") as process:
        wait_until(is_running, what="the job is drawn", timeout_s=PATIENCE_S)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE_S)
    answer = json.loads(out)

    assert answer["error"]["code"] == "interrupted"
    assert '"queued"' in run_imagen("jobs", "show", answer["id"], "--json").stdout


def test_a_killed_job_is_found_and_drawn_by_resume(slow, tmp_path, is_running):
    with start_imagen("generate", "a fox", "--backend", "slow") as process:
        wait_until(is_running, what="the job is drawn", timeout_s=PATIENCE_S)
        process.kill()
    slow.write_text("backends:\n  slow: {type: mock}\n")
    resumed = run_imagen("jobs", "resume", "--all")

    assert resumed.returncode == 0
    assert len(list(tmp_path.glob("*.png"))) == 1


def test_a_second_signal_ends_a_worker_at_once(slow, is_running):
    slow.write_text(f"{slow.read_text()}workers: {{grace_s: 3600}}\n")
    run_imagen("generate", "a fox", "--backend", "slow", "--timeout", "0.2")
    with start_imagen("worker") as process:
        wait_until(is_running, what="the job is drawn", timeout_s=PATIENCE_S)
        while process.poll() is None:
            # Two that come together count as one.
            process.send_signal(signal.SIGTERM)
            time.sleep(0.05)

    assert process.returncode == 143


def test_a_full_disk_leaves_no_half_file_and_keeps_the_image(tmp_path, postgres_url, monkeypatch):
    def forbid_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    # A ledger elsewhere: it must not feel the limit.
    monkeypatch.setenv("IMAGEN_DATABASE_URL", postgres_url)
    run_imagen("db", "upgrade")
    words = ("generate", "a fox", "--backend", "mock", "--size", "512x512", "--json")
    done = run_imagen(*words, "--output", "out/fox.png", preexec_fn=forbid_large_files)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("out/*")) == []
    assert run_imagen("jobs", "retry", "--failed").returncode == 0
    assert (tmp_path / "out/fox.png").stat().st_size > 4_000


def test_a_worker_without_a_broker_draws_what_waits_and_ends_cleanly(slow, tmp_path):
    run_imagen("generate", "a fox", "--backend", "slow", "--size", "64x64", "--timeout", "0.2")
    slow.write_text("backends:\n  slow: {type: mock}\n")
    with start_imagen("worker", "gpu") as process:
        wait_until(
            lambda: len(list(tmp_path.glob("*.png"))) == 1,
            what="the job is drawn",
            timeout_s=PATIENCE_S,
        )
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0
    assert out == ""
    assert '"event": "worker_started"' in err
    assert "a fox" not in err


def test_wait_ends_when_another_process_has_drawn(slow, tmp_path):
    run_imagen("generate", "a fox", "--backend", "slow", "--size", "64x64", "--timeout", "0.2")
    slow.write_text("backends:\n  slow: {type: mock}\n")
    listed = run_imagen("jobs", "ls").stdout.splitlines()[1].split()[0]
    with start_imagen("jobs", "wait", listed) as waiting:
        drawn = run_imagen("jobs", "resume", "--all")
        out, _ = waiting.communicate(timeout=PATIENCE_S)

    assert waiting.returncode == 0
    assert out == drawn.stdout


def test_cancel_stops_a_job_that_another_process_draws(slow, is_running):
    # It hears of it with its next heartbeat.
    slow.write_text(f"{slow.read_text()}workers: {{lease_s: 2}}\n")
    with start_imagen("generate", "a fox", "--backend", "slow") as process:
        wait_until(is_running, what="the job is drawn", timeout_s=PATIENCE_S)
        canceled = run_imagen("jobs", "cancel", "--all")
        out, err = process.communicate(timeout=PATIENCE_S)

    assert canceled.returncode == 0
    assert process.returncode == 1
    assert "canceled" in err
    assert out == ""


def test_completion_offers_commands_backends_and_ids():
    id_ = run_imagen("generate", "a fox", "--backend", "mock", "--size", "64x64", "--json").stdout
    id_ = id_.split('"id": "')[1][:36]

    def offered(line: str) -> str:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        env = {**os.environ, "_IMAGEN_COMPLETE": "bash_complete", **words}
        return run_imagen(env=env).stdout

    assert "plain,generate" in offered("imagen ge")
    assert "plain,mock" in offered("imagen generate x --backend mo")
    assert "plain,blog-header" in offered("imagen generate x --style ")
    assert id_ in offered(f"imagen jobs show {id_[:4]}")


def test_completion_stays_silent_where_the_configuration_is_broken(tmp_path):
    (tmp_path / "bad.yaml").write_text("nonsense: [")
    env = {
        **os.environ,
        "IMAGEN_CONFIG": str(tmp_path / "bad.yaml"),
        "_IMAGEN_COMPLETE": "bash_complete",
        "COMP_WORDS": "imagen generate x --backend ",
        "COMP_CWORD": "4",
    }
    done = run_imagen(env=env)

    assert (done.stdout.strip(), done.stderr) == ("", "")
