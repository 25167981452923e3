"""A server out of memory, out of disk or out of order, and what a drawing makes of it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from imagen.backends.comfyui.backend import ComfyUIBackend
from imagen.domain.request import ImageRequest
from imagen.errors import (
    BackendRejected,
    BackendStuck,
    BackendUnavailable,
    JobCanceled,
    JobTimeout,
)
from imagen.images.verify import inspect_image
from imagen.testing.runs import RecordingRun
from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.comfyui.execution import Prompt

MakeBackend = Callable[..., ComfyUIBackend]


def draw(backend: ComfyUIBackend, request: ImageRequest) -> RecordingRun:
    """Draw one and see that it is whole."""
    run = RecordingRun()
    assert inspect_image(backend.generate(request, run).data)
    return run


def test_out_of_memory_frees_the_models_and_tries_once_more(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("oom")

    draw(backend, fox)

    assert ("POST", "/free") in fake.records.requests
    assert [one.end for one in fake.executions] == ["torch.OutOfMemoryError", "success"]


def test_out_of_memory_twice_is_a_failure_with_a_way_out(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("oom", times=None)

    with pytest.raises(BackendRejected, match=r"out of GPU memory drawing 64x64.*smaller"):
        backend.generate(fox, RecordingRun())

    assert len(fake.executions) == 2


def test_a_full_disk_pauses_the_backend_instead_of_failing_every_job(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("disk_full")

    with pytest.raises(BackendStuck, match="no space left"):
        backend.generate(fox, RecordingRun())


def test_a_prompt_over_its_time_is_stopped(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("freeze")

    with pytest.raises(JobTimeout, match=r"timeout_s 0\.2"):
        make_backend(timeout_s=0.2).generate(fox, RecordingRun())

    assert fake.executions[0].end == "interrupted"
    assert fake.engine.remaining() == 0
    assert fake.global_interrupts == 0


def test_waiting_in_the_queue_does_not_count_as_execution(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("freeze")
    patient = make_backend()
    hasty = make_backend(timeout_s=1.0)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(patient.generate, fox, RecordingRun())
        fake.wait_until(lambda: fake.executions)
        second = pool.submit(hasty.generate, replace(fox, seed=8), RecordingRun())
        fake.wait_until(lambda: fake.engine.remaining() == 2)
        waits_since_s = time.monotonic()
        fake.wait_until(lambda: time.monotonic() - waits_since_s > 1.2)
        fake.engine.interrupt(fake.executions[0].prompt_id)
        assert second.result().seed == 8
        assert isinstance(first.exception(), BackendUnavailable)


def test_a_prompt_without_a_sign_of_life_is_interrupted_and_tried_again_later(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("freeze")

    with pytest.raises(BackendUnavailable, match="no progress") as caught:
        make_backend(stall_s=0.2).generate(fox, RecordingRun())

    assert not isinstance(caught.value, BackendStuck)
    assert fake.executions[0].end == "interrupted"


@pytest.fixture
def hasty(make_backend: MakeBackend) -> ComfyUIBackend:
    return make_backend(stop_s=0.2, stall_s=0.6)


@pytest.mark.parametrize("fault", ["hang", "deaf_freeze"])
def test_a_server_that_draws_no_more_is_stuck_and_left_alone(
    hasty: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest, fault: str
) -> None:
    fake.inject(fault)

    with pytest.raises(BackendStuck, match=r"is stuck: .*restart it") as first:
        hasty.generate(fox, RecordingRun())
    with pytest.raises(BackendStuck):
        hasty.generate(fox, RecordingRun())

    assert len(fake.submissions) == 1, "nothing more is queued behind it"
    assert first.value.pause_s == 0, "the check knows when it is over"
    assert not hasty.check().is_ok
    assert "stuck" in hasty.check().reason


def test_a_restart_makes_a_stuck_server_usable_again(
    hasty: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("hang")
    with pytest.raises(BackendStuck):
        hasty.generate(fox, RecordingRun())

    fake.restart()

    draw(hasty, fox)
    assert hasty.check().is_ok


def test_who_waits_behind_a_stuck_prompt_is_told_as_well(
    hasty: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("hang")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(hasty.generate, fox, RecordingRun())
        fake.wait_until(lambda: fake.engine.queue()["queue_running"])
        second = pool.submit(hasty.generate, replace(fox, seed=8), RecordingRun())
        fake.wait_until(lambda: fake.engine.queue()["queue_pending"])
        assert isinstance(first.exception(), BackendStuck)
        assert isinstance(second.exception(), BackendStuck)

    assert fake.engine.queue()["queue_pending"] == []


@pytest.fixture
def foreign_prompt(fake: FakeComfyUI) -> str:
    """Another client's prompt, in execution until it is interrupted."""
    fake.inject("freeze")
    graph = {"2": {"class_type": "SaveImage", "inputs": {}}}
    fake.engine.put(Prompt(0, "another-clients", graph, {"client_id": "x"}, ["2"]))
    fake.wait_until(lambda: fake.engine.queue()["queue_running"])
    return "another-clients"


def test_another_clients_long_prompt_ahead_is_waited_for_and_never_called_stuck(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest, foreign_prompt: str
) -> None:
    hasty = make_backend(timeout_s=0.2, stall_s=0.2)

    with ThreadPoolExecutor(1) as pool:
        drawing = pool.submit(hasty.generate, fox, RecordingRun())
        fake.wait_until(lambda: fake.engine.remaining() == 2)
        waits_since_s = time.monotonic()
        fake.wait_until(lambda: time.monotonic() - waits_since_s > 1.0)
        assert not drawing.done()
        assert hasty.check().is_ok
        fake.engine.interrupt(foreign_prompt)
        assert inspect_image(drawing.result().data)

    assert fake.global_interrupts == 0


def test_a_wait_behind_another_clients_prompt_says_how_many_whose_and_since_when(
    make_backend: MakeBackend,
    fake: FakeComfyUI,
    fox: ImageRequest,
    foreign_prompt: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imagen.backends.comfyui.run.phases.NAMED_AFTER_S", 0.0)
    backend, run = make_backend(), RecordingRun()

    with ThreadPoolExecutor(1) as pool:
        drawing = pool.submit(backend.generate, fox, run)
        fake.wait_until(lambda: any("waiting behind" in phase for phase in run.phases))
        fake.engine.interrupt(foreign_prompt)
        drawing.result()

    told = next(phase for phase in run.phases if "waiting" in phase)
    assert re.fullmatch(
        r"waiting behind 1 other, first prompt another- of another client since \d\d:\d\d UTC", told
    )


def test_a_canceled_wait_behind_another_clients_prompt_leaves_that_prompt_alone(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest, foreign_prompt: str
) -> None:
    run = RecordingRun()
    is_canceled = threading.Event()

    def cancel(_done: int, _total: int) -> None:
        if is_canceled.is_set():
            raise JobCanceled("canceled")

    run.on_progress = cancel
    with ThreadPoolExecutor(1) as pool:
        drawing = pool.submit(make_backend().generate, fox, run)
        fake.wait_until(lambda: fake.engine.remaining() == 2)
        is_canceled.set()
        assert isinstance(drawing.exception(), JobCanceled)

    queue = fake.engine.queue()
    assert [item[1] for item in queue["queue_running"]] == [foreign_prompt]
    assert queue["queue_pending"] == []


def test_loading_a_model_is_told_instead_of_no_step(
    make_backend: MakeBackend, fox: ImageRequest
) -> None:
    with FakeComfyUI(load_s=0.2, draw_s=0.1) as slow:
        run = RecordingRun()
        make_backend(url=slow.url, workflow="flux-dev").generate(fox, run)
        again = RecordingRun()
        make_backend(url=slow.url, workflow="flux-dev").generate(replace(fox, seed=8), again)

    assert "loading flux1-dev" in run.phases
    assert run.phases[-1] == "", "steps speak for themselves"
    assert not any("loading" in phase for phase in again.phases), "it is loaded already"
