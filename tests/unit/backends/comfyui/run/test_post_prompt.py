"""A worker that dies leaves its prompt to the next one, which does not draw it twice."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagen.backends.comfyui.backend import ComfyUIBackend
from imagen.domain.job import Attempt, AttemptState
from imagen.domain.request import ImageRequest
from imagen.errors import BackendStuck, LeaseLost, OutcomeUnknown
from imagen.testing.contract import resume
from imagen.testing.runs import RecordingRun
from tests.fakes.comfyui import FakeComfyUI

MakeBackend = Callable[..., ComfyUIBackend]


class Dying(RecordingRun):
    """A run whose worker loses its lease as soon as ``condition`` holds."""

    condition: Callable[[], object]

    def progress(self, done: int, total: int, *, phase: str = "") -> None:
        super().progress(done, total, phase=phase)
        if self.external_ids and self.condition():
            raise LeaseLost("another worker has it")


def die_when(condition: Callable[[], object]) -> Dying:
    run = Dying()
    run.condition = condition
    return run


def begin_and_die(
    backend: ComfyUIBackend, request: ImageRequest, condition: Callable[[], object]
) -> RecordingRun:
    """What the next worker gets."""
    run = die_when(condition)
    with pytest.raises(LeaseLost):
        backend.generate(request, run)
    return resume(run)


def test_a_lost_lease_leaves_the_server_alone(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("freeze")

    begin_and_die(backend, fox, lambda: fake.executions)

    assert fake.engine.remaining() == 1
    assert not {"/interrupt"} & {path for _, path in fake.records.requests}
    assert ("POST", "/queue") not in fake.records.requests


def test_a_worker_dead_before_its_post_leaves_nothing_to_find(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    class DiesAnnounced(RecordingRun):
        def submitted(self, external_id: str, *, place: str = "") -> None:
            super().submitted(external_id, place=place)
            raise LeaseLost("another worker has it")

    run = DiesAnnounced()
    with pytest.raises(LeaseLost):
        backend.generate(fox, run)
    assert fake.submissions == []

    backend.generate(fox, resume(run))

    assert fake.records.count_drawings() == 1


def test_a_waiting_prompt_is_taken_over(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("freeze")
    blocker = begin_and_die(backend, fox, lambda: fake.executions)
    waiting = begin_and_die(backend, fox, lambda: fake.engine.remaining() == 2)

    with ThreadPoolExecutor(1) as pool:
        drawing = pool.submit(backend.generate, fox, waiting)
        fake.wait_until(lambda: waiting.of_kind("progress"))
        backend.cancel(str(blocker.attempt_id))
        assert drawing.result().data

    assert len(fake.submissions) == 2
    assert waiting.external_ids == []


def test_a_running_prompt_is_taken_over(make_backend: MakeBackend, fox: ImageRequest) -> None:
    with FakeComfyUI(draw_s=0.3) as slow:
        backend = make_backend(url=slow.url)
        again = begin_and_die(backend, fox, lambda: slow.executions)

        drawn = backend.generate(fox, again)

        assert drawn.data
        assert len(slow.submissions) == len(slow.executions) == 1


def test_a_finished_prompt_is_taken_over(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    run = RecordingRun()
    first = backend.generate(fox, run)

    again = backend.generate(fox, resume(run))

    assert again.data == first.data
    assert len(fake.executions) == 1


def test_a_prompt_lost_with_a_restart_is_drawn_again(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("freeze")
    again = begin_and_die(backend, fox, lambda: fake.executions)
    fake.restart()

    backend.generate(fox, again)

    assert again.external_ids == [str(again.attempt_id)]
    assert fake.records.count_drawings() == 1


def test_a_forgotten_prompt_is_drawn_again(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    run = RecordingRun()
    backend.generate(fox, run)
    backend.forget(run.external_ids[0])

    assert backend.generate(fox, resume(run)).data


def test_what_cannot_be_looked_up_is_not_posted(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("freeze")
    again = begin_and_die(backend, fox, lambda: fake.executions)
    fake.inject("answer", times=None, path="/history", status=502)

    with pytest.raises(OutcomeUnknown):
        backend.generate(fox, again)

    assert len(fake.submissions) == 1


def test_a_prompt_at_another_server_is_followed_there(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    with FakeComfyUI(draw_s=0.3) as other:
        again = begin_and_die(make_backend(url=other.url), fox, lambda: other.executions)

        drawn = make_backend().generate(fox, again)

        assert drawn.data
        assert len(other.executions) == 1
        assert fake.submissions == []


def test_a_prompt_at_a_server_that_is_gone_is_drawn_here(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    with FakeComfyUI() as other:
        other.inject("freeze")
        again = begin_and_die(make_backend(url=other.url), fox, lambda: other.executions)

    drawn = make_backend().generate(fox, again)

    assert drawn.data
    assert again.place == fake.url


def test_the_proxys_token_goes_to_no_other_server(
    make_backend: MakeBackend, fox: ImageRequest
) -> None:
    with FakeComfyUI() as other:
        again = begin_and_die(make_backend(url=other.url), fox, lambda: other.executions)
        before = len(other.records.headers)

        guarded = make_backend(headers_env="KEY", env={"KEY": "test-token"})
        guarded.generate(fox, again)

        later = other.records.headers[before:]
        assert later
        assert all("test-token" not in str(headers) for headers in later)


def test_an_attempt_that_was_never_announced_is_new(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    run = RecordingRun()
    run.previous = Attempt(run.attempt_id, run.attempt_id, 1, "gpu-box", AttemptState.STARTED)

    backend.generate(fox, run)

    assert fake.records.count_drawings() == 1


@pytest.mark.parametrize("place", ["an account", "http://[bad", "ftp://gpu", "http://"])
def test_a_place_that_is_no_server_is_passed_over(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest, place: str
) -> None:
    run = RecordingRun()
    run.previous = Attempt(
        run.attempt_id, run.attempt_id, 1, "gpu-box", AttemptState.SUBMITTED, "some-id", place
    )

    backend.generate(fox, run)

    assert fake.records.count_drawings() == 1


def test_a_prompt_that_died_with_its_server_thread_does_not_fail_the_job(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("hang")
    again = begin_and_die(make_backend(), fox, lambda: fake.engine.queue()["queue_running"])

    with pytest.raises(BackendStuck):
        make_backend(timeout_s=0.1, stop_s=0.1).generate(fox, again)


def test_the_graph_that_was_run_says_which_model_drew(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    run = begin_and_die(make_backend(), fox, lambda: fake.executions)

    otherwise = make_backend(model="flux1-dev.safetensors")
    drawn = otherwise.generate(fox, run)

    assert drawn.model == "flux1-schnell.safetensors"
    assert otherwise.generate(fox, RecordingRun()).model == "flux1-dev.safetensors"
