"""Drawing when all goes well."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from PIL import Image

from imagen.backends.comfyui.backend import ComfyUIBackend
from imagen.domain.request import ImageRequest
from imagen.errors import BackendRejected, ConfigError, CredentialError, RequestError
from imagen.testing.runs import RecordingRun
from tests.fakes.comfyui import FakeComfyUI

MakeBackend = Callable[..., ComfyUIBackend]


def write_own_workflow(path: Path) -> None:
    """An exported graph, without our bindings, whose image is twice the size asked for."""
    text = resources.files("imagen.backends.comfyui.workflow").joinpath(
        "workflows/flux-schnell.json"
    )
    graph = json.loads(text.read_text())["graph"]
    graph["6"]["_meta"] = {"title": "imagen:prompt"}
    graph["25"]["_meta"] = {"title": "imagen:seed"}
    path.write_text(json.dumps(graph))


def test_the_attempts_id_is_the_prompts_id_and_its_folder(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    run = RecordingRun()

    backend.generate(fox, run)

    assert run.external_ids == [str(run.attempt_id)]
    assert fake.submissions[0].prompt_id == str(run.attempt_id)
    assert fake.disk.names() == [f"imagen/{run.attempt_id}/image_00001_.png"]


def test_the_place_is_announced_before_the_prompt_is_posted(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    posted_when_announced: list[int] = []

    class Watching(RecordingRun):
        def submitted(self, external_id: str, *, place: str = "") -> None:
            posted_when_announced.append(len(fake.submissions))
            super().submitted(external_id, place=place)

    run = Watching()
    backend.generate(fox, run)

    assert posted_when_announced == [0]
    assert run.place == fake.url


def test_what_is_sent_cannot_kill_the_server(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    backend.generate(fox, RecordingRun())

    sent = fake.submissions[0]
    assert isinstance(sent.client_id, str)
    assert sent.client_id
    assert isinstance(sent.extra_data, dict)
    assert all(isinstance(node["inputs"], dict) for node in sent.graph.values())


def test_every_drawing_has_a_client_id_of_its_own(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    for _ in range(3):
        backend.generate(fox, RecordingRun())

    assert len({sent.client_id for sent in fake.submissions}) == 3


def test_the_result_says_what_is_needed_to_draw_it_again(
    make_backend: MakeBackend, fox: ImageRequest
) -> None:
    request = replace(fox, steps=6, options={"guidance": "4.5"})

    drawn = make_backend(workflow="flux-dev").generate(request, RecordingRun())

    assert (drawn.model, drawn.seed, drawn.steps) == ("flux1-dev.safetensors", 7, 6)
    assert drawn.cost.usd == 0
    settings = drawn.details["settings"]
    assert (settings["guidance"], settings["sampler"]) == (4.5, "euler")
    assert settings["clip_t5"] == "t5xxl_fp8_e4m3fn.safetensors"
    assert drawn.details["workflow"] == "flux-dev"
    assert fox.styled_prompt not in json.dumps(drawn.details)


def test_steps_are_reported_as_they_pass(make_backend: MakeBackend, fox: ImageRequest) -> None:
    run = RecordingRun()

    # What is found ended over HTTP is fetched without the events that were not read yet.
    with FakeComfyUI(draw_s=1.5) as slow:
        make_backend(url=slow.url, poll_s=30).generate(replace(fox, steps=3), run)

    assert {event[1:] for event in run.of_kind("progress")} >= {(0, 3), (1, 3), (2, 3), (3, 3)}


def test_an_unfitted_request_is_fitted_and_says_so(
    backend: ComfyUIBackend, fox: ImageRequest
) -> None:
    drawn = backend.generate(replace(fox, width=100), RecordingRun())

    with Image.open(io.BytesIO(drawn.data)) as image:
        assert image.size == (96, 64)
    assert "100x64" in drawn.warnings[0]


def test_a_fitted_request_is_warned_about_in_the_same_words(
    backend: ComfyUIBackend, fox: ImageRequest
) -> None:
    # Each sentence is recorded and shown once, whichever call gave it first.
    fitted = backend.fit(replace(fox, steps=9, negative="text"))

    drawn = backend.generate(fitted.request, RecordingRun())

    assert len(fitted.warnings) == 2
    assert set(drawn.warnings) <= set(fitted.warnings)
    assert drawn.negative == ""


def test_two_threads_keep_two_prompts_in_flight(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    backend = make_backend()
    fake.inject("freeze")
    both_sent = threading.Event()

    def unfreeze() -> None:
        fake.wait_until(lambda: fake.engine.remaining() == 2)
        both_sent.set()
        fake.engine.interrupt(fake.executions[0].prompt_id)

    with ThreadPoolExecutor(3) as pool:
        waiting = pool.submit(unfreeze)
        first = pool.submit(backend.generate, fox, RecordingRun())
        fake.wait_until(lambda: fake.executions)
        second = pool.submit(backend.generate, replace(fox, seed=8), RecordingRun())
        waiting.result()
        assert second.result().seed == 8
        assert first.exception() is not None

    assert both_sent.is_set()


def test_a_history_later_than_its_event_is_waited_for(
    make_backend: MakeBackend, fox: ImageRequest
) -> None:
    with FakeComfyUI(history_lag_s=0.1) as late:
        drawn = make_backend(url=late.url).generate(fox, RecordingRun())

        assert drawn.data
        assert late.records.count_drawings() == 1


def test_a_users_own_workflow_draws_its_own_size_and_says_so(
    make_backend: MakeBackend, fox: ImageRequest, tmp_path: Path
) -> None:
    write_own_workflow(tmp_path / "mine.json")
    backend = make_backend(workflow=str(tmp_path / "mine.json"))

    fitted = backend.fit(fox)
    drawn = backend.generate(fitted.request, RecordingRun())

    assert "draws its own size" in fitted.warnings[0]
    assert drawn.warnings[-1] == "asked for 64x64, the workflow drew 1024x1024"
    assert backend.affinity(fitted.request) == "flux1-schnell.safetensors"


def test_a_workflow_file_may_lie_on_the_drawing_host_alone(
    make_backend: MakeBackend, fox: ImageRequest, tmp_path: Path
) -> None:
    backend = make_backend(workflow=str(tmp_path / "elsewhere.json"))

    fitted = backend.fit(fox)

    assert fitted.request == fox
    assert "not on this host" in fitted.warnings[0]
    assert backend.affinity(fox) is None
    with pytest.raises(ConfigError, match=r"elsewhere\.json"):
        backend.generate(fox, RecordingRun())


def test_the_affinity_is_the_model_that_must_be_loaded(
    make_backend: MakeBackend, fox: ImageRequest
) -> None:
    names = ("flux-schnell", "flux-dev", "flux-checkpoint", "smoke")

    models = [make_backend(workflow=name).affinity(fox) for name in names]

    assert models == [
        "flux1-schnell.safetensors",
        "flux1-dev.safetensors",
        "flux1-schnell-fp8.safetensors",
        None,
    ]


def test_forgetting_drops_the_history_entry_and_keeps_the_file(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    run = RecordingRun()
    backend.generate(fox, run)
    assert fake.engine.history(run.external_ids[0])

    backend.forget(run.external_ids[0])

    assert not fake.engine.history(run.external_ids[0])
    assert fake.disk.names()


def test_a_server_that_chooses_the_ids_is_followed(
    make_backend: MakeBackend, fox: ImageRequest
) -> None:
    with FakeComfyUI(ignores_prompt_ids=True) as old:
        run = RecordingRun()

        make_backend(url=old.url).generate(fox, run)

        assert run.external_ids == [str(run.attempt_id), *old.engine.history()]


# What would fail again.


def test_a_missing_model_is_refused_for_good_and_names_the_others(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    with pytest.raises(BackendRejected) as caught:
        make_backend(model="nope.safetensors").generate(fox, RecordingRun())

    message = str(caught.value)
    assert "unet_name 'nope.safetensors' is not on this server" in message
    assert "flux1-schnell.safetensors" in message
    assert fake.executions == []


def test_a_size_the_model_refuses_names_node_and_range(
    make_backend: MakeBackend, fox: ImageRequest, tmp_path: Path
) -> None:
    write_own_workflow(tmp_path / "mine.json")
    text = (tmp_path / "mine.json").read_text()
    (tmp_path / "mine.json").write_text(text.replace('"width": 1024', '"width": 8'))

    with pytest.raises(BackendRejected, match=r"node '5' .*width 8: .*min 16"):
        make_backend(workflow=str(tmp_path / "mine.json")).generate(fox, RecordingRun())


def test_an_unknown_node_class_is_named(
    make_backend: MakeBackend, fox: ImageRequest, tmp_path: Path
) -> None:
    write_own_workflow(tmp_path / "mine.json")
    text = (tmp_path / "mine.json").read_text()
    (tmp_path / "mine.json").write_text(text.replace("BasicGuider", "MyGuider"))

    with pytest.raises(BackendRejected, match="MyGuider"):
        make_backend(workflow=str(tmp_path / "mine.json")).generate(fox, RecordingRun())


def test_an_unknown_node_class_is_named_by_its_class_not_its_title_alone(
    make_backend: MakeBackend, fox: ImageRequest, tmp_path: Path
) -> None:
    write_own_workflow(tmp_path / "mine.json")
    graph = json.loads((tmp_path / "mine.json").read_text("utf-8"))
    graph["77"] = {"class_type": "IPAdapter", "inputs": {}, "_meta": {"title": "portrait"}}
    (tmp_path / "mine.json").write_text(json.dumps(graph), "utf-8")

    with FakeComfyUI(version="0.33.0") as later:
        backend = make_backend(url=later.url, workflow=str(tmp_path / "mine.json"))

        with pytest.raises(BackendRejected, match=r"node '77' \(IPAdapter\).*installed\?"):
            backend.generate(fox, RecordingRun())


def test_a_200_with_node_errors_is_a_refusal_and_its_good_part_is_stopped(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest, tmp_path: Path
) -> None:
    write_own_workflow(tmp_path / "mine.json")
    graph = json.loads((tmp_path / "mine.json").read_text())
    graph["99"] = {"class_type": "PreviewImage", "inputs": {}}
    (tmp_path / "mine.json").write_text(json.dumps(graph))
    fake.inject("freeze")

    with pytest.raises(BackendRejected, match=r"node '99' .*'images' is missing"):
        make_backend(workflow=str(tmp_path / "mine.json")).generate(fox, RecordingRun())

    fake.wait_until(lambda: fake.engine.remaining() == 0)
    assert fake.global_interrupts == 0


def test_an_unknown_option_never_reaches_the_server(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    with pytest.raises(RequestError, match="it knows: denoise, sampler, scheduler"):
        backend.generate(replace(fox, options={"cfg": "2"}), RecordingRun())

    assert fake.submissions == []


def test_a_failing_node_is_named_without_prompt_or_paths(
    backend: ComfyUIBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    fake.inject("error", message=f"cannot encode {fox.styled_prompt} in /srv/comfy/models/x.py\n")

    with pytest.raises(BackendRejected, match="RuntimeError: cannot encode …") as caught:
        backend.generate(fox, RecordingRun())

    assert fox.styled_prompt not in str(caught.value)
    assert "/srv" not in str(caught.value)


# Behind a reverse proxy.


def test_the_proxys_headers_go_with_http_and_websocket(
    make_backend: MakeBackend, fox: ImageRequest
) -> None:
    with FakeComfyUI(required_header=("X-Key", "test-token")) as guarded:
        backend = make_backend(url=guarded.url, headers_env="KEY", env={"KEY": "X-Key: test-token"})

        backend.generate(fox, RecordingRun())

        assert ("GET", "/ws") in guarded.records.requests


@pytest.mark.parametrize("env", [{}, {"KEY": "X-Key: wrong-test-token"}])
def test_wrong_credentials_name_the_variable_and_not_its_value(
    make_backend: MakeBackend, fox: ImageRequest, env: dict[str, str]
) -> None:
    with FakeComfyUI(required_header=("X-Key", "test-token")) as guarded:
        backend = make_backend(url=guarded.url, headers_env="KEY", env=env)

        with pytest.raises(CredentialError, match="KEY") as caught:
            backend.generate(fox, RecordingRun())

        assert "test-token" not in str(caught.value)
        assert guarded.submissions == []


def test_a_path_before_the_endpoints_is_kept(
    make_backend: MakeBackend, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    assert make_backend(url=f"{fake.url}/api").generate(fox, RecordingRun()).data
