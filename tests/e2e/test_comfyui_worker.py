"""A real GPU worker at a ComfyUI server: when either dies or restarts, nothing is drawn twice."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from imagen.domain.job import Job, JobState
from imagen.domain.scope import Scope
from imagen.ledger.jobs.cancel_and_retry import request_cancel
from imagen.ledger.jobs.worker_rows import live_workers, unreachable_backends
from imagen.ledger.queries.jobs import get_job
from imagen.ledger.store.tables import jobs
from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.comfyui.device import Speed
from tests.fakes.comfyui.execution import Prompt
from tests.processes.commands import start_imagen
from tests.processes.environment import Environment
from tests.processes.kill_points import KillPoint
from tests.processes.worker_process import WorkerProcess
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PATIENCE_S = 90.0

#: Where a worker dies, in the order of a job's life.
STEPS = {
    "before the post": KillPoint("imagen.backends.comfyui.run.prompt_run:post_prompt", "before"),
    "posted": KillPoint("imagen.backends.comfyui.run.prompt_run:post_prompt", "after"),
    "finished but not fetched": KillPoint(
        "imagen.backends.comfyui.run.prompt_run:fetch_image", "before"
    ),
    "fetched but not kept": KillPoint("imagen.services.draw.draw:record_generated", "before"),
    "kept": KillPoint("imagen.services.draw.draw:record_generated", "after"),
}


@pytest.fixture
def fake() -> Iterator[FakeComfyUI]:
    with FakeComfyUI(draw_s=0.05) as fake:
        yield fake


@pytest.fixture
def environment(tmp_path: Path, redis_url: str, fake: FakeComfyUI) -> Iterator[Environment]:
    """Two models on one server; the worker that reconciles and delivers runs already."""
    quick: dict[str, Any] = {"type": "comfyui", "url": fake.url, "stall_s": 1.5}
    backends = {
        "schnell": {**quick, "workflow": "flux-schnell"},
        "dev": {**quick, "workflow": "flux-dev"},
    }
    with Environment(tmp_path / "stage", redis_url, backends=backends) as environment:
        environment.start_ready("results")
        yield environment


def start_gpu(environment: Environment, point: KillPoint | None = None) -> WorkerProcess:
    return environment.start_ready("gpu", point=point)


def only_job(environment: Environment) -> Job:
    with environment.ledger.read() as connection:
        [job_id] = connection.scalars(jobs.select().with_only_columns(jobs.c.id))
    return job_of(environment, job_id)


def job_of(environment: Environment, job_id: UUID) -> Job:
    job = get_job(environment.ledger, job_id)
    assert job is not None
    return job


def soon(condition: Callable[[], object], what: str) -> None:
    wait_until(condition, what=what, timeout_s=PATIENCE_S)


def assert_drawn_once(environment: Environment, fake: FakeComfyUI, *, number: int = 1) -> None:
    ended = environment.states()
    assert {state: n for state, n in ended.items() if n} == {JobState.SUCCEEDED: number}
    assert len(list(environment.output.glob("*.png"))) == number
    assert Counter(one.prompt_id for one in fake.executions).most_common(1)[0][1] == 1
    assert len(fake.submissions) == len(fake.executions) == number


def noise_seed(graph: Mapping[str, Any]) -> int:
    [seed] = [
        node["inputs"]["noise_seed"] for node in graph.values() if "noise_seed" in node["inputs"]
    ]
    return int(seed)


def command(environment: Environment, *words: str) -> subprocess.Popen[str]:
    return start_imagen(*words, cwd=environment.output, env=environment.variables())


@pytest.mark.parametrize("point", STEPS.values(), ids=[name.replace(" ", "-") for name in STEPS])
def test_what_a_worker_leaves_when_it_dies_is_not_drawn_again(environment, fake, point):
    doomed = start_gpu(environment, point)
    environment.submit(["a fox"])
    soon(lambda: not doomed.is_alive, "the worker dies")
    start_gpu(environment)
    environment.wait_for_all(timeout_s=PATIENCE_S)

    assert_drawn_once(environment, fake)
    assert doomed.status == -9
    kept = point is STEPS["kept"]
    assert only_job(environment).crash_count == (0 if kept else 1)


def test_of_two_jobs_in_flight_a_killed_worker_leaves_both_to_the_next(environment, fake):
    fake.speed = Speed(draw_s=1.5)
    fake.restart()
    doomed = start_gpu(environment)
    environment.submit(["a fox", "an owl"])
    soon(lambda: fake.executions and fake.engine.remaining() == 2, "one runs and one waits")
    doomed.kill()
    start_gpu(environment)
    environment.wait_for_all(timeout_s=PATIENCE_S)

    assert_drawn_once(environment, fake, number=2)
    assert fake.records.count_drawings() == 2


def test_jobs_that_alternate_between_two_models_load_each_a_few_times(environment, fake):
    for number in range(20):
        environment.submit([f"fox {number}"], backend="schnell")
        environment.submit([f"owl {number}"], backend="dev")
    start_gpu(environment)
    environment.wait_for_all(timeout_s=PATIENCE_S)

    assert_drawn_once(environment, fake, number=40)
    # Four, and two more where a job at a change of models overtakes the one claimed before it.
    assert len(fake.records.loads) <= 6


def test_a_canceled_job_is_interrupted_at_its_server_and_by_name(environment, fake):
    fake.inject("freeze")
    start_gpu(environment)
    environment.submit(["a fox"])
    soon(lambda: fake.executions, "it runs")
    job = only_job(environment)
    request_cancel(environment.ledger, Scope(job_ids=(job.id,)))
    environment.wait_for_all(timeout_s=PATIENCE_S)

    assert job_of(environment, job.id).state is JobState.CANCELED
    assert [one.end for one in fake.executions] == ["interrupted"]
    assert fake.global_interrupts == 0
    assert list(environment.output.iterdir()) == []


def test_a_stuck_server_is_left_alone_and_everybody_says_so(environment, fake):
    fake.inject("hang")
    start_gpu(environment)
    ledger = environment.ledger
    with command(environment, "generate", "a fox", "--backend", "schnell", "--wait") as waiting:
        soon(lambda: unreachable_backends(live_workers(ledger, within_s=30)), "it is reported")
        with command(environment, "backends", "list") as listing:
            listed, _ = listing.communicate(timeout=PATIENCE_S)
        said = ""
        while "is stuck" not in said:
            assert waiting.stderr is not None
            line = waiting.stderr.readline()
            assert line, said
            said += line
        fake.restart()
        out, _ = waiting.communicate(timeout=PATIENCE_S)

    assert f"ComfyUI at {fake.url} is stuck" in " ".join(listed.split())
    assert "restart it" in said
    assert waiting.returncode == 0
    assert Path(out.strip()).exists()
    assert fake.records.count_drawings() == 1


def test_a_server_that_restarts_in_mid_job_draws_it_again_with_the_same_seed(environment, fake):
    fake.inject("freeze")
    start_gpu(environment)
    environment.submit(["a fox"])
    soon(lambda: fake.executions, "it runs")
    fake.restart(down_s=0.5)
    environment.wait_for_all(timeout_s=PATIENCE_S)

    assert only_job(environment).state is JobState.SUCCEEDED
    assert fake.records.count_drawings() == 1
    seeds = [noise_seed(submission.graph) for submission in fake.submissions]
    assert len(seeds) == 2
    assert len(set(seeds)) == 1
    # The same try: neither the worker nor the backend failed it.
    assert only_job(environment).attempt_count == 1


def test_a_command_that_waits_hears_through_redis_behind_whom_its_job_waits(environment, fake):
    fake.inject("freeze")
    graph = {"2": {"class_type": "SaveImage", "inputs": {}}}
    fake.engine.put(Prompt(0, "somebody-elses", graph, {"client_id": "x"}, ["2"]))
    start_gpu(environment)

    waiting = command(environment, "generate", "a fox", "-b", "dev", "--wait", "--timeout", "10")
    _, said = waiting.communicate(timeout=PATIENCE_S)
    fake.engine.interrupt("somebody-elses")
    environment.wait_for_all(timeout_s=PATIENCE_S)

    assert waiting.returncode == 6
    assert "which is running: waiting behind 1 other" in said
    assert [job.state for job in [only_job(environment)]] == [JobState.SUCCEEDED]


def test_what_the_live_results_worker_may_not_write_is_refused_before_it_is_drawn(
    environment, fake, tmp_path
):
    start_gpu(environment)
    # This command's own configuration would allow it.
    other = tmp_path / "other.yaml"
    config = json.loads(environment.config_path.read_text()) | {"results": {}}
    other.write_text(json.dumps(config))

    refused = command(
        environment, "generate", "a fox", "-o", str(tmp_path / "fox.png"), "--config", str(other)
    )
    _, said = refused.communicate(timeout=PATIENCE_S)

    assert refused.returncode == 2
    assert "the results worker of" in said
    assert str(environment.folder) in said
    assert fake.submissions == []
    assert not any(environment.states().values())
