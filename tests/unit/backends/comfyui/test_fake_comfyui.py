"""The fake behaves as the real server was observed to, its traps included."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
import websocket
from PIL import Image

from imagen.backends.comfyui.backend import ComfyUIBackend
from imagen.domain.request import ImageRequest
from imagen.testing.runs import RecordingRun
from tests.fakes.comfyui import FakeComfyUI

CHECKOUT = Path(__file__).parents[4]


def smoke_graph(color: int = 255, prefix: str = "smoke") -> dict[str, Any]:
    size = {"width": 64, "height": 64, "batch_size": 1, "color": color}
    save = {"filename_prefix": prefix, "images": ["1", 0]}
    return {
        "1": {"class_type": "EmptyImage", "inputs": size},
        "2": {"class_type": "SaveImage", "inputs": save},
    }


def post(fake: FakeComfyUI, graph: object = None, **values: Any) -> requests.Response:
    body = {"prompt": graph or smoke_graph(), "client_id": "me", **values}
    return requests.post(f"{fake.url}/prompt", json=body, timeout=5)


def get(fake: FakeComfyUI, path: str) -> Any:
    return requests.get(fake.url + path, timeout=5).json()


def finish(fake: FakeComfyUI, prompt_id: str) -> dict[str, Any]:
    """The prompt's history entry, once it is there."""
    fake.wait_until(lambda: get(fake, f"/history/{prompt_id}"))
    entry: dict[str, Any] = get(fake, f"/history/{prompt_id}")[prompt_id]
    return entry


@pytest.fixture
def listener(fake: FakeComfyUI) -> Iterator[websocket.WebSocket]:
    socket = listen(fake, "me")
    yield socket
    socket.shutdown()


def listen(fake: FakeComfyUI, client_id: str) -> websocket.WebSocket:
    url = fake.url.replace("http", "ws")
    return websocket.create_connection(f"{url}/ws?clientId={client_id}", timeout=5)


def hear(socket: websocket.WebSocket, kind: str) -> dict[str, Any]:
    """The data of the next message of that kind."""
    while True:
        message = json.loads(socket.recv())
        if message["type"] == kind:
            data: dict[str, Any] = message["data"]
            return data


def hear_until_end(socket: websocket.WebSocket) -> list[str]:
    kinds = []
    while True:
        message = json.loads(socket.recv())
        kinds.append(message["type"])
        if message["type"] == "executing" and message["data"]["node"] is None:
            return kinds


def test_events_come_in_the_observed_order(
    fake: FakeComfyUI, listener: websocket.WebSocket
) -> None:
    post(fake)

    kinds = [kind for kind in hear_until_end(listener) if kind != "progress_state"]

    assert kinds == [
        *("status", "status", "status", "execution_start", "execution_cached"),
        *("executing", "progress", "executing", "executed", "execution_success"),
        *("status", "executing"),
    ]


def test_the_history_stands_when_the_last_event_comes(
    fake: FakeComfyUI, listener: websocket.WebSocket
) -> None:
    prompt_id = post(fake).json()["prompt_id"]

    hear_until_end(listener)

    assert get(fake, f"/history/{prompt_id}")[prompt_id]["status"]["completed"]


def test_the_success_event_comes_before_the_history(listener: websocket.WebSocket) -> None:
    with FakeComfyUI(history_lag_s=0.3) as late:
        socket = listen(late, "me")
        # Once the server has greeted the listener, it sends it the prompt's events.
        hear(socket, "status")
        prompt_id = post(late).json()["prompt_id"]

        hear(socket, "execution_success")

        assert get(late, f"/history/{prompt_id}") == {}
        socket.shutdown()


def test_one_id_posted_twice_runs_twice(fake: FakeComfyUI) -> None:
    for color in (1, 2):
        post(fake, smoke_graph(color), prompt_id="same")
    fake.wait_until(lambda: fake.records.count_drawings() == 2)

    assert [one.prompt_id for one in fake.executions] == ["same", "same"]


def test_a_500_for_an_equal_number_and_id_has_queued_it(fake: FakeComfyUI) -> None:
    fake.inject("freeze")
    post(fake)
    fake.wait_until(lambda: fake.executions)
    post(fake, prompt_id="same", number=7)

    answer = post(fake, prompt_id="same", number=7)

    assert answer.status_code == 500
    assert len(get(fake, "/queue")["queue_pending"]) == 2


def test_an_identical_graph_is_answered_with_the_old_file(fake: FakeComfyUI) -> None:
    first = finish(fake, post(fake).json()["prompt_id"])
    second = finish(fake, post(fake).json()["prompt_id"])

    assert second["outputs"] == first["outputs"]
    assert fake.executions[1].cached_nodes == ("1", "2")
    assert len(fake.disk.names()) == 1


def test_a_name_is_given_again_after_a_deletion(fake: FakeComfyUI) -> None:
    first = finish(fake, post(fake, smoke_graph(1)).json()["prompt_id"])
    fake.disk.delete_all()
    second = finish(fake, post(fake, smoke_graph(2)).json()["prompt_id"])

    assert second["outputs"] == first["outputs"]


def test_a_second_socket_with_the_same_id_goes_deaf_when_the_first_ends(
    fake: FakeComfyUI,
) -> None:
    first = listen(fake, "twin")
    fake.wait_until(lambda: fake.engine.sockets.count == 1)
    second = listen(fake, "twin")
    hear(second, "status")
    first.shutdown()
    fake.wait_until(lambda: fake.engine.sockets.count == 0)

    finish(fake, post(fake, client_id="twin").json()["prompt_id"])

    second.settimeout(0.05)
    with pytest.raises(websocket.WebSocketTimeoutException):
        second.recv()
    second.shutdown()


def test_without_a_client_id_only_progress_is_told(
    fake: FakeComfyUI, listener: websocket.WebSocket
) -> None:
    post(fake, client_id=None)
    fake.wait_until(lambda: fake.records.count_drawings() == 1)
    post(fake, smoke_graph(9))

    kinds = hear_until_end(listener)

    assert kinds.count("execution_success") == 1
    assert kinds.count("progress") == 2


def test_lower_numbers_go_first_and_the_list_is_a_heap(fake: FakeComfyUI) -> None:
    fake.inject("freeze")
    blocker = post(fake).json()["prompt_id"]
    fake.wait_until(lambda: fake.executions)
    for number in (35, 36, -38, -1e9, 3.5):
        post(fake, smoke_graph(int(abs(number)) % 255), prompt_id=f"n{number:g}", number=number)
    requests.post(f"{fake.url}/interrupt", json={"prompt_id": blocker}, timeout=5)
    fake.wait_until(lambda: len(fake.executions) == 6)

    order = [one.prompt_id for one in fake.executions[1:]]

    assert order == ["n-1e+09", "n-38", "n3.5", "n35", "n36"]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"1": {"class_type": "NoSuch", "inputs": {}}}, "invalid_prompt"),
        ({"1": {"inputs": {}}}, "invalid_prompt"),
        ({"2": {"class_type": "EmptyImage", "inputs": {}}}, "prompt_no_outputs"),
        ({"2": {"class_type": "SaveImage", "inputs": {}}}, "prompt_outputs_failed_validation"),
    ],
)
def test_a_wrong_graph_is_refused_with_the_observed_body(
    fake: FakeComfyUI, change: dict[str, Any], kind: str
) -> None:
    answer = post(fake, smoke_graph() | change)

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == kind
    assert fake.executions == []


def test_a_good_and_a_bad_output_run_the_good_one_and_name_the_bad(fake: FakeComfyUI) -> None:
    graph = smoke_graph() | {"5": {"class_type": "SaveImage", "inputs": {}}}

    answer = post(fake, graph)

    assert answer.status_code == 200
    assert list(answer.json()["node_errors"]) == ["5"]
    assert list(finish(fake, answer.json()["prompt_id"])["outputs"]) == ["2"]


@pytest.mark.parametrize("poison", [{"9": {"class_type": "EmptyImage"}}, None])
def test_poison_is_taken_and_nothing_runs_any_more(
    fake: FakeComfyUI, poison: dict[str, Any] | None
) -> None:
    if poison:
        answer = post(fake, smoke_graph() | poison)
    else:
        answer = requests.post(
            f"{fake.url}/prompt", json={"prompt": smoke_graph(), "extra_data": None}, timeout=5
        )
    post(fake, smoke_graph(2))
    fake.wait_until(lambda: get(fake, "/queue")["queue_running"])

    queue = get(fake, "/queue")

    assert answer.status_code == 200
    assert (len(queue["queue_running"]), len(queue["queue_pending"])) == (1, 1)
    assert get(fake, "/system_stats")


def test_a_client_id_that_is_no_string_kills_the_server(fake: FakeComfyUI) -> None:
    with pytest.raises(requests.ConnectionError):
        post(fake, client_id=[])

    fake.wait_until(lambda: not fake.is_running)


def test_a_restart_forgets_everything_but_the_files(fake: FakeComfyUI) -> None:
    prompt_id = post(fake).json()["prompt_id"]
    image = finish(fake, prompt_id)["outputs"]["2"]["images"][0]
    url = fake.url

    fake.restart()

    assert fake.url == url
    assert get(fake, f"/history/{prompt_id}") == {}
    assert post(fake, smoke_graph(3)).json()["number"] == 0
    assert requests.get(f"{url}/view", params=image, timeout=5).status_code == 200


def test_orders_are_answered_with_nothing_whether_or_not_they_matched(fake: FakeComfyUI) -> None:
    orders = {
        "/interrupt": {"prompt_id": "none"},
        "/queue": {"delete": ["none"]},
        "/history": {"delete": ["none"]},
        "/free": {"free_memory": True},
    }

    answers = [
        requests.post(fake.url + path, json=order, timeout=5) for path, order in orders.items()
    ]

    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"")] * 4


def test_the_whole_graph_stands_in_the_file(fake: FakeComfyUI) -> None:
    image = finish(fake, post(fake).json()["prompt_id"])["outputs"]["2"]["images"][0]

    data = requests.get(f"{fake.url}/view", params=image, timeout=5).content
    stripped = requests.get(f"{fake.url}/view?channel=rgb", params=image, timeout=5).content

    with Image.open(io.BytesIO(data)) as picture:
        assert json.loads(picture.info["prompt"]) == smoke_graph()
    with Image.open(io.BytesIO(stripped)) as picture:
        assert "prompt" not in picture.info


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("filename=no.png", 404),
        ("filename=../x", 400),
        ("filename=x&type=odd", 400),
        ("filename=x&subfolder=../y", 403),
    ],
)
def test_files_that_are_not_there_or_not_allowed(
    fake: FakeComfyUI, query: str, status: int
) -> None:
    assert requests.get(f"{fake.url}/view?{query}", timeout=5).status_code == status


def test_another_origin_is_refused(fake: FakeComfyUI) -> None:
    answer = requests.get(f"{fake.url}/queue", headers={"Origin": "http://evil"}, timeout=5)

    assert answer.status_code == 403


def test_another_model_is_loaded_and_the_same_is_not(
    make_backend: Callable[..., ComfyUIBackend], fake: FakeComfyUI, fox: ImageRequest
) -> None:
    schnell, dev = make_backend(), make_backend(workflow="flux-dev")

    for backend in (schnell, schnell, dev, schnell):
        backend.generate(fox, RecordingRun())

    names = [name.removeprefix("flux1-") for name in fake.records.loads]
    assert names == ["schnell.safetensors", "dev.safetensors", "schnell.safetensors"]


def test_freed_models_are_loaded_again(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    backend.generate(fox, RecordingRun())
    requests.post(f"{fake.url}/free", json={"unload_models": True, "free_memory": True}, timeout=5)
    backend.generate(fox, RecordingRun())

    assert len(fake.records.loads) == 2


def test_the_idle_share_is_that_of_the_device() -> None:
    with FakeComfyUI(draw_s=0.01) as fake:
        assert fake.records.idle_share() == 0
        for color in range(4):
            post(fake, smoke_graph(color))
        fake.wait_until(lambda: fake.records.count_drawings() == 4)

        assert 0 <= fake.records.idle_share() < 1
        assert get(fake, "/_fake/stats")["drawings"] == 4


def test_an_unknown_fault_is_refused(fake: FakeComfyUI) -> None:
    with pytest.raises(ValueError, match="post_lost"):
        fake.inject("post_lots")


def test_it_runs_as_a_program_and_ends_when_told() -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.comfyui", "--port", "0", "--draw-s", "0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )
    try:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        body = {"prompt": smoke_graph(), "prompt_id": str(uuid4())}
        assert requests.post(f"{url}/prompt", json=body, timeout=5).status_code == 200
        fault = {"name": "oom", "times": 2}
        assert requests.post(f"{url}/_fake/inject", json=fault, timeout=5).status_code == 200
        deadline_s = time.monotonic() + 10
        while requests.get(f"{url}/_fake/stats", timeout=5).json()["drawings"] != 1:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    finally:
        program.send_signal(signal.SIGTERM)
        program.communicate(timeout=10)

    assert program.returncode == 0
