"""A cancel stops the prompt at the server, that prompt only, wherever it is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from imagen.backends.comfyui.backend import ComfyUIBackend
from imagen.domain.request import ImageRequest
from imagen.errors import BackendUnavailable, JobCanceled
from imagen.testing.runs import RecordingRun
from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.comfyui.execution import Prompt

MakeBackend = Callable[..., ComfyUIBackend]


def cancel_when(condition: Callable[[], object]) -> RecordingRun:
    def check(done: int, total: int) -> None:
        if condition():
            raise JobCanceled("canceled by its owner")

    return RecordingRun(on_progress=check)


def test_a_job_canceled_before_it_was_sent_is_not_sent(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    with pytest.raises(JobCanceled):
        backend.generate(fox, cancel_when(lambda: True))

    assert fake.submissions == []


def test_a_running_prompt_is_interrupted_by_its_id(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("freeze")

    with pytest.raises(JobCanceled):
        backend.generate(fox, cancel_when(lambda: fake.executions))

    assert fake.executions[0].end == "interrupted"
    assert fake.engine.remaining() == 0
    assert fake.global_interrupts == 0


def test_a_queued_prompt_is_deleted_and_the_running_one_goes_on(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("freeze")

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(backend.generate, fox, RecordingRun())
        fake.wait_until(lambda: fake.executions)
        with pytest.raises(JobCanceled):
            backend.generate(
                replace(fox, seed=8), cancel_when(lambda: fake.engine.remaining() == 2)
            )
        assert fake.engine.remaining() == 1
        assert fake.executions[0].end == ""

        fake.engine.interrupt(fake.executions[0].prompt_id)
        assert isinstance(running.exception(), BackendUnavailable)

    assert len(fake.executions) == 1


def test_the_next_prompt_runs_after_a_cancel(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("freeze")
    with pytest.raises(JobCanceled):
        backend.generate(fox, cancel_when(lambda: fake.executions))

    assert backend.generate(fox, RecordingRun()).data


def test_a_cancel_is_noticed_while_no_event_comes(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("ws_stalled", times=None)
    fake.inject("freeze")

    with pytest.raises(JobCanceled):
        backend.generate(fox, cancel_when(lambda: fake.executions))

    fake.faults.clear()
    assert fake.engine.remaining() == 0


def test_a_cancel_is_noticed_while_the_server_is_away(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("kill")
    backend = make_backend(stop_s=0.1)

    with pytest.raises(JobCanceled):
        backend.generate(fox, cancel_when(lambda: not fake.is_running))


@pytest.mark.parametrize("times", [1, 2])
def test_canceling_by_id_stops_a_running_prompt_and_may_be_repeated(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest, times: int
) -> None:
    fake.inject("freeze")
    run = RecordingRun()

    with ThreadPoolExecutor(1) as pool:
        drawing = pool.submit(backend.generate, fox, run)
        fake.wait_until(lambda: fake.executions)
        for _ in range(times):
            backend.cancel(str(run.attempt_id))
        assert isinstance(drawing.exception(), BackendUnavailable)

    assert fake.executions[0].end == "interrupted"


def test_both_copies_of_a_doubled_id_are_stopped(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("freeze", times=2)
    run = RecordingRun()

    with ThreadPoolExecutor(1) as pool:
        drawing = pool.submit(backend.generate, fox, run)
        fake.wait_until(lambda: fake.executions)
        item = fake.engine.queue()["queue_running"][0]
        for number in (50, 51):
            fake.engine.put(Prompt(number, *item[1:]))
        backend.cancel(str(run.attempt_id))
        drawing.exception()

    fake.wait_until(lambda: fake.engine.remaining() == 0)


def test_a_server_that_cannot_be_told_of_a_cancel_is_unavailable(
    make_backend: MakeBackend, fake: FakeComfyUI
) -> None:
    backend = make_backend(stop_s=0.1)
    fake.kill()

    with pytest.raises(BackendUnavailable):
        backend.cancel("some-id")


def test_a_prompt_that_takes_no_interrupt_does_not_hold_up_the_cancel(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("deaf_freeze")

    with pytest.raises(JobCanceled):
        make_backend(stop_s=0.1).generate(fox, cancel_when(lambda: fake.executions))


def test_forgetting_at_an_unreachable_server_raises_nothing(
    backend: ComfyUIBackend, fake: FakeComfyUI
) -> None:
    fake.kill()

    backend.forget("some-id")
