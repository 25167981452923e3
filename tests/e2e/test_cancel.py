"""Cancel means now: at the backend, whoever began the drawing and however that process ended."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING
from imagen.ledger.queries.jobs import count_states
from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.replicate import FakeReplicate, ReplicateFault
from tests.processes.commands import run_imagen, start_imagen
from tests.processes.environment import SHORT_LEASES, Environment
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

PATIENCE_S = 60.0


def _begin(is_begun: Callable[[], object], *, end: signal.Signals) -> tuple[str, str]:
    """Ask for an image and end the command by that signal once it is drawn; its id and stderr."""
    with start_imagen("generate", "a fox", "--size", "512x512") as process:
        wait_until(is_begun, what="it is drawn", timeout_s=PATIENCE_S)
        process.send_signal(end)
        _, err = process.communicate(timeout=PATIENCE_S)
    [job] = json.loads(run_imagen("jobs", "ls", "--json").stdout)["jobs"]
    return job["id"], err


def _configure(monkeypatch: pytest.MonkeyPatch, folder: Path, **backend: Any) -> None:
    path = folder / "imagen.yaml"
    path.write_text(json.dumps({"default_backend": "drawn", "backends": {"drawn": backend}}))
    monkeypatch.setenv("IMAGEN_CONFIG", str(path))


@pytest.fixture
def comfyui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeComfyUI]:
    """A server that draws for ten minutes."""
    with FakeComfyUI(draw_s=600) as fake:
        _configure(monkeypatch, tmp_path, type="comfyui", url=fake.url, workflow="flux-schnell")
        yield fake


@pytest.fixture
def replicate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeReplicate]:
    """The same at a provider."""
    with FakeReplicate(draw_s=600) as fake:
        _configure(
            monkeypatch,
            tmp_path,
            type="replicate",
            model="black-forest-labs/flux-schnell",
            base_url=fake.url,
            download_hosts=fake.download_hosts,
            price="0.003",
            post_timeout_s=4,
            settle_s=1,
        )
        monkeypatch.setenv("REPLICATE_API_TOKEN", "test-token")
        yield fake


def _draws(fake: FakeComfyUI) -> bool:
    return any(each.ended_at_s is None for each in fake.executions)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=lambda each: each.name)
def test_what_a_stopped_command_left_at_comfyui_is_canceled_there(comfyui, end):
    job_id, _ = _begin(lambda: _draws(comfyui), end=end)

    done = run_imagen("jobs", "cancel", job_id)

    assert (done.returncode, done.stdout) == (0, f"{job_id} canceled\n")
    wait_until(lambda: not _draws(comfyui), what="it draws no more")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=lambda each: each.name)
def test_what_a_stopped_command_left_at_replicate_is_canceled_there(replicate, end):
    # Asked about, so its id is on record.
    job_id, _ = _begin(lambda: replicate.count_calls("GET", _only_id(replicate)), end=end)

    done = run_imagen("jobs", "cancel", job_id)

    assert (done.returncode, done.stdout) == (0, f"{job_id} canceled\n")
    assert _statuses(replicate) == {"canceled"}


def test_a_prediction_whose_id_was_never_heard_is_found_and_canceled(replicate):
    replicate.inject(ReplicateFault.HANG_AFTER_CREATION)
    job_id, _ = _begin(lambda: replicate.world.made, end=signal.SIGKILL)

    done = run_imagen("jobs", "cancel", job_id, timeout_s=240)

    assert (done.returncode, done.stdout) == (0, f"{job_id} canceled\n")
    assert _statuses(replicate) == {"canceled"}


def _only_id(fake: FakeReplicate) -> str:
    made = list(fake.world.made)
    return f"/predictions/{made[0]}" if made else "/none"


def _statuses(fake: FakeReplicate) -> set[str]:
    now = time.time()
    return {one.status(now) for one in fake.world.listed(after=0, before=now + 60)}


def test_ctrl_c_on_a_paid_job_says_that_it_goes_on_and_how_to_stop_it(replicate):
    job_id, err = _begin(
        lambda: _statuses(replicate) & {"starting", "processing"}, end=signal.SIGINT
    )

    assert f"goes on being drawn and costs; to stop: imagen jobs cancel {job_id}" in err
    assert f"imagen jobs resume {job_id}" in err


def test_ctrl_c_on_a_free_job_speaks_of_no_costs(comfyui):
    _, err = _begin(lambda: _draws(comfyui), end=signal.SIGINT)

    assert "cost" not in err


def test_a_backend_that_cannot_be_told_of_a_cancel_is_said_to_go_on(comfyui):
    job_id, _ = _begin(lambda: _draws(comfyui), end=signal.SIGINT)
    comfyui.kill()

    done = run_imagen("jobs", "cancel", job_id, "--json")

    assert done.returncode == 5
    answer = json.loads(done.stdout)
    assert answer["jobs"] == [{"id": job_id, "state": "queued"}]
    assert f"imagen jobs cancel {job_id}" in answer["error"]["hint"]
    comfyui.start()
    wait_until(
        lambda: run_imagen("jobs", "cancel", job_id).stdout == f"{job_id} canceled\n",
        what="it is canceled",
    )


def test_a_paused_backend_is_told_of_a_cancel(comfyui):
    job_id, _ = _begin(lambda: _draws(comfyui), end=signal.SIGINT)
    assert run_imagen("backends", "pause", "drawn").returncode == 0

    assert run_imagen("jobs", "cancel", job_id).stdout == f"{job_id} canceled\n"

    wait_until(lambda: not _draws(comfyui), what="it draws no more")


def test_a_worker_hears_of_a_cancel_by_an_event_long_before_its_heartbeat(tmp_path, redis_url):
    backends = {"slow": {"type": "mock", "latency_ms": 600_000}}
    seldom = SHORT_LEASES | {"heartbeat_s": 600, "lease_s": 1800}
    with Environment(
        tmp_path / "stage", redis_url, workers=seldom, backends=backends
    ) as environment:
        worker = environment.start_ready("gpu")
        env = {**environment.variables(), "PATH": os.environ["PATH"]}
        job_id = run_imagen("generate", "a fox", env=env).stdout.strip()
        ledger = environment.ledger
        wait_until(
            lambda: count_states(ledger, EVERYTHING) == {JobState.RUNNING: 1}, what="it is drawn"
        )

        done = run_imagen("jobs", "cancel", job_id, env=env)

        assert done.returncode == 0
        wait_until(
            lambda: count_states(ledger, EVERYTHING) == {JobState.CANCELED: 1},
            what="it is canceled",
        )
        worker.terminate()
