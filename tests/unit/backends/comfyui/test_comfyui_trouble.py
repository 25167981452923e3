"""Drawing when the server, the network or the socket fails: no job lost, none drawn twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from imagen.backends.comfyui.backend import ComfyUIBackend
from imagen.domain.request import ImageRequest
from imagen.errors import (
    BackendUnavailable,
    OutcomeUnknown,
    RateLimited,
)
from imagen.images.verify import inspect_image
from imagen.testing.contract import resume
from imagen.testing.runs import RecordingRun
from tests.fakes.comfyui import FakeComfyUI

MakeBackend = Callable[..., ComfyUIBackend]


def draw(backend: ComfyUIBackend, request: ImageRequest) -> RecordingRun:
    """Draw one and see that it is whole."""
    run = RecordingRun()
    assert inspect_image(backend.generate(request, run).data)
    return run


# Certainly not begun.


def test_a_wrong_url_is_unavailable_and_asks_whether_it_runs(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.kill()

    with pytest.raises(BackendUnavailable, match=r"connection refused.*is ComfyUI running"):
        make_backend().generate(fox, RecordingRun())


def test_a_host_that_does_not_exist_is_unavailable(
    make_backend: MakeBackend, fox: ImageRequest
) -> None:
    with pytest.raises(BackendUnavailable, match="not reachable"):
        make_backend(url="http://gpu.invalid:8188").generate(fox, RecordingRun())


@contextmanager
def serve(status: int, body: bytes, **headers: str) -> Iterator[str]:
    """Some web server that is not ComfyUI; its url."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, b"<html>hello</html>", "does not look like ComfyUI"),
        (200, b"[1]", "does not look like ComfyUI"),
        (200, b'{"hello": 1}', "does not look like ComfyUI"),
        (404, b"", "does not look like ComfyUI"),
        (302, b"", "redirects"),
        (502, b"<html>502 Bad Gateway</html>", "502"),
    ],
)
def test_a_server_that_is_not_comfyui_gets_no_prompt(
    make_backend: MakeBackend, fox: ImageRequest, status: int, body: bytes, says: str
) -> None:
    with serve(status, body, Location="http://127.0.0.1:1/") as url:
        backend = make_backend(url=url)
        run = RecordingRun()

        with pytest.raises(BackendUnavailable, match=says):
            backend.generate(fox, run)
        backend.close()

    assert run.external_ids == []


def test_a_proxys_429_says_how_long_to_wait(make_backend: MakeBackend, fox: ImageRequest) -> None:
    with serve(429, b"", Retry_After="7") as url:
        backend = make_backend(url=url)

        with pytest.raises(RateLimited) as caught:
            backend.generate(fox, RecordingRun())
        backend.close()

    assert caught.value.retry_after_s == 7


# Posts with no clear answer.


@pytest.mark.parametrize("fault", ["post_500_queued", "post_lost"])
def test_a_prompt_that_was_queued_after_all_is_not_posted_again(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest, fault: str
) -> None:
    fake.inject(fault)

    draw(backend, fox)

    assert len(fake.submissions) == 1
    assert fake.records.count_drawings() == 1


@pytest.mark.parametrize("fault", ["post_500", "post_dropped"])
def test_a_prompt_that_was_not_queued_is_posted_again(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest, fault: str
) -> None:
    fake.inject(fault)

    draw(backend, fox)

    assert fake.records.count_drawings() == 1


def test_a_server_that_never_takes_the_prompt_is_unavailable(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("post_500", times=None)

    with pytest.raises(BackendUnavailable, match="it answered 500; it was not"):
        backend.generate(fox, RecordingRun())

    assert fake.executions == []


def test_a_post_that_cannot_be_looked_up_is_unknown(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("post_lost")
    fake.inject("answer", times=None, path="/history", status=502)

    with pytest.raises(OutcomeUnknown):
        make_backend(restart_wait_s=0.1).generate(fox, RecordingRun())


# The socket.


@pytest.mark.parametrize("after", range(14))
def test_a_socket_cut_at_any_message_loses_nothing(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest, after: int
) -> None:
    fake.inject("ws_cut", after=after)

    draw(backend, replace(fox, seed=after + 1))

    assert fake.records.count_drawings() == 1


@pytest.mark.parametrize("fault", ["ws_refused", "ws_deaf", "ws_stalled"])
def test_without_events_polling_finds_the_end(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest, fault: str
) -> None:
    fake.inject(fault, times=None)

    draw(backend, fox)

    assert fake.records.count_drawings() == 1
    fake.faults.clear()


# Restarts.


def test_a_server_that_restarts_in_mid_job_draws_it_again_with_the_same_seed(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("freeze")

    with ThreadPoolExecutor(1) as pool:
        drawing = pool.submit(draw, backend, fox)
        fake.wait_until(lambda: fake.executions)
        fake.restart(down_s=0.2)
        run = drawing.result()

    assert run.external_ids == [str(run.attempt_id)] * 2
    assert [sent.graph["25"]["inputs"]["noise_seed"] for sent in fake.submissions] == [7, 7]


def test_a_server_that_dies_at_its_work_and_comes_back_draws_it_again(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("kill")

    with ThreadPoolExecutor(1) as pool:
        drawing = pool.submit(draw, backend, fox)
        fake.wait_until(lambda: not fake.is_running)
        fake.start()
        drawing.result()

    assert fake.records.count_drawings() == 1


def test_a_server_that_stays_away_leaves_the_outcome_unknown(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("kill")

    with pytest.raises(OutcomeUnknown, match="in the middle of a prompt"):
        make_backend(restart_wait_s=0.1).generate(fox, RecordingRun())


def test_a_prompt_that_is_lost_again_and_again_is_given_up(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("vanish", times=None)

    with pytest.raises(BackendUnavailable, match="3 times"):
        backend.generate(fox, RecordingRun())

    assert len(fake.submissions) == 3


def test_an_interrupt_by_another_client_does_not_fail_the_job(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("interrupted")

    with pytest.raises(BackendUnavailable, match="another client interrupted"):
        backend.generate(fox, RecordingRun())

    assert fake.engine.history() == {}, "a resumed attempt would take it for news"


# The image.


@pytest.mark.parametrize("fault", ["view_truncated", "view_damaged", "view_missing"])
def test_a_broken_download_is_tried_again(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest, fault: str
) -> None:
    fake.inject(fault)

    draw(backend, fox)

    assert fake.records.count_drawings() == 1


@pytest.mark.parametrize(
    "fault", ["view_truncated", "view_damaged", "view_missing", "view_wrong_size"]
)
def test_an_image_that_stays_broken_is_drawn_again(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest, fault: str
) -> None:
    fake.inject(fault, times=3)

    draw(backend, fox)

    assert fake.records.count_drawings() == 2


def test_a_redraw_is_not_answered_from_the_cache_with_the_lost_file(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    run = draw(backend, fox)
    fake.disk.delete_all()

    drawn = backend.generate(fox, resume(run))

    assert inspect_image(drawn.data)
    assert len(fake.disk.names()) == 1


def test_a_server_gone_during_the_download_is_waited_for(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    run = draw(backend, fox)
    fake.inject("answer", path="/view", status=502)
    fake.inject("answer", times=3, path="/prompt", status=502)

    drawn = backend.generate(fox, resume(run))

    assert inspect_image(drawn.data)
    assert len(fake.submissions) == 1
