"""No option makes the server open a file of the user's choosing; models are chosen from lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagen.backends.comfyui.backend import ComfyUIBackend
from imagen.domain.request import ImageRequest
from imagen.errors import RequestError
from imagen.images.verify import inspect_image
from imagen.testing.runs import RecordingRun
from tests.fakes.comfyui import FakeComfyUI

MakeBackend = Callable[..., ComfyUIBackend]
Bind = Callable[..., ComfyUIBackend]

_NODES: dict[str, Any] = {
    "loader": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "output": {"class_type": "LoadImageOutput", "inputs": {"image": "a.png [output]"}},
    "latent": {"class_type": "LoadLatent", "inputs": {"latent": "a.latent"}},
    "clip": {"class_type": "VHS_LoadVideoPath", "inputs": {"video": "a.mp4"}},
    "photo": {"class_type": "PickPhoto", "inputs": {"choice": "example.png"}},
    "string": {"class_type": "PrimitiveString", "inputs": {"value": "example.png"}},
    "linked": {"class_type": "LoadImage", "inputs": {"image": ["string", 0]}},
    "lora": {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"model": ["12", 0], "lora_name": "ink.safetensors", "strength_model": 1.0},
    },
    "preview": {"class_type": "PreviewImage", "inputs": {"images": ["photo", 0]}},
}


@pytest.fixture
def bind(make_backend: MakeBackend, tmp_path: Path) -> Bind:
    """A backend whose workflow has an option bound to one of the nodes above."""

    def bind(option: str, target: str) -> ComfyUIBackend:
        own = Path(__file__).parents[5] / "imagen/backends/comfyui/workflow/workflows/flux-dev.json"
        file = json.loads(own.read_text("utf-8"))
        file["bind"][option] = target
        node = target.partition(".")[0]
        needed = {node, "preview"} if node == "photo" else {node, "linked"}
        if node != "string":
            needed -= {"linked"}
        file["graph"] |= {name: body for name, body in _NODES.items() if name in needed}
        if node == "lora":
            file["graph"]["30"]["inputs"]["model"] = ["lora", 0]
        path = tmp_path / "mine.json"
        path.write_text(json.dumps(file), "utf-8")
        return make_backend(workflow=str(path))

    return bind


@pytest.mark.parametrize(
    ("target", "node_class"),
    [
        ("loader.image", "LoadImage"),
        ("output.image", "LoadImageOutput"),
        ("latent.latent", "LoadLatent"),
        ("clip.video", "VHS_LoadVideoPath"),
        ("string.value", "LoadImage"),
    ],
)
@pytest.mark.parametrize("value", ["/etc/passwd", "example.png"])
def test_an_option_bound_to_an_input_that_loads_a_file_is_refused_at_submission(
    bind: Bind, fox: ImageRequest, target: str, node_class: str, value: str
) -> None:
    backend = bind("image", target)

    with pytest.raises(RequestError) as caught:
        backend.fit(replace(fox, options={"image": value}))

    assert "option 'image'" in caught.value.message
    assert f"({node_class}), which loads a file of the server" in caught.value.message
    assert "--image" in caught.value.hint


def test_a_workflow_that_loads_a_file_of_its_own_draws_without_the_option(
    bind: Bind, fox: ImageRequest
) -> None:
    backend = bind("image", "photo.choice")

    drawn = backend.generate(backend.fit(fox).request, RecordingRun())

    assert inspect_image(drawn.data)


def test_a_node_of_an_unknown_name_is_judged_by_what_the_server_says_of_its_input(
    bind: Bind, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    backend = bind("choice", "photo.choice")
    fitted = backend.fit(replace(fox, options={"choice": "example.png"})).request

    with pytest.raises(RequestError, match=r"node 'photo' \(PickPhoto\), which loads a file"):
        backend.generate(fitted, RecordingRun())

    assert fake.submissions == []


@pytest.mark.parametrize(
    "value",
    [
        "/etc/passwd",
        "../../etc/passwd",
        "styles/../../x",
        "~/x",
        "C:\\x",
        "\\\\host\\x",
        "x [temp]",
    ],
)
def test_a_value_that_is_a_path_is_refused_whatever_its_node_is(
    bind: Bind, fox: ImageRequest, value: str
) -> None:
    backend = bind("lora", "lora.lora_name")

    with pytest.raises(RequestError, match=r"option 'lora'.*takes no path"):
        backend.fit(replace(fox, options={"lora": value}))


@pytest.mark.parametrize("value", ["ink.safetensors", "styles/gouache.safetensors"])
def test_a_model_is_chosen_from_the_servers_list(
    bind: Bind, fake: FakeComfyUI, fox: ImageRequest, value: str
) -> None:
    backend = bind("lora", "lora.lora_name")

    backend.generate(backend.fit(replace(fox, options={"lora": value})).request, RecordingRun())

    assert fake.submissions[0].graph["lora"]["inputs"]["lora_name"] == value


def test_a_model_that_the_server_does_not_list_is_refused_before_it_is_queued(
    bind: Bind, fake: FakeComfyUI, fox: ImageRequest
) -> None:
    backend = bind("lora", "lora.lora_name")
    fitted = backend.fit(replace(fox, options={"lora": "styles/none.safetensors"})).request

    with pytest.raises(RequestError, match=r"lora_name of node 'lora'.*ink\.safetensors"):
        backend.generate(fitted, RecordingRun())

    assert fake.submissions == []


def test_a_text_may_begin_with_a_slash(
    make_backend: MakeBackend, fox: ImageRequest, tmp_path: Path
) -> None:
    own = Path(__file__).parents[5] / "imagen/backends/comfyui/workflow/workflows/flux-dev.json"
    file = json.loads(own.read_text("utf-8"))
    file["graph"]["7"] = {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["11", 0]}}
    file["bind"]["second"] = "7.text"
    (tmp_path / "mine.json").write_text(json.dumps(file), "utf-8")
    backend = make_backend(workflow=str(tmp_path / "mine.json"))

    fitted = backend.fit(replace(fox, options={"second": "/imagine a hare"}))

    assert fitted.request.options["second"] == "/imagine a hare"
