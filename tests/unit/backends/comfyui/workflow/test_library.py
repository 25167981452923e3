"""Workflows are ours by name or the user's by path, and say clearly why they cannot be used."""

from __future__ import annotations

import gc
import json
from importlib import resources
from pathlib import Path

import pytest

from imagen.backends.comfyui.settings import ComfyUISettings
from imagen.backends.comfyui.workflow.library import BUILT_IN, load_workflow
from imagen.backends.comfyui.workflow.workflow import models_in
from imagen.errors import ConfigError


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_workflow_loads(name: str) -> None:
    workflow = load_workflow(ComfyUISettings(workflow=name))

    assert workflow.name == name
    assert workflow.graph[workflow.bindings.output]["class_type"] == "SaveImage"
    assert {"seed", "width", "height"} <= set(workflow.bindings.inputs)


def test_every_data_file_is_a_built_in_workflow() -> None:
    folder = resources.files("imagen.backends.comfyui.workflow") / "workflows"

    assert {file.name for file in folder.iterdir()} == {f"{name}.json" for name in BUILT_IN}


def test_the_flux_models_are_what_must_be_loaded() -> None:
    models = [models_in(load_workflow(ComfyUISettings(workflow=name)).graph) for name in BUILT_IN]

    assert models == [
        "flux1-schnell.safetensors",
        "flux1-dev.safetensors",
        "flux1-schnell-fp8.safetensors",
        None,
    ]


def test_configured_files_take_the_place_of_the_workflows_own() -> None:
    settings = ComfyUISettings(model="m.sft", clip_t5="t.sft", clip_l="l.sft", vae="v.sft")

    workflow = load_workflow(settings)

    assert models_in(workflow.graph) == "m.sft"
    assert workflow.graph["11"]["inputs"]["clip_name1"] == "t.sft"
    assert workflow.graph["11"]["inputs"]["clip_name2"] == "l.sft"
    assert workflow.graph["10"]["inputs"]["vae_name"] == "v.sft"


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"workflow": "flux-schnel"}, ["flux-schnel", "flux-dev", "smoke"]),
        ({"workflow": "flux-schnell", "guidance": 3.0}, ["guidance", "scheduler"]),
        ({"workflow": "flux-checkpoint", "model": "m"}, ["model", "checkpoint"]),
        ({"workflow": "smoke", "sampler": "euler"}, ["sampler"]),
        ({"workflow": "flux-dev", "bind": {"prompt": "6.text"}}, ["bind"]),
    ],
)
def test_settings_that_fit_nowhere_are_refused(
    settings: dict[str, object], names: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_workflow(ComfyUISettings.model_validate(settings))

    assert all(name in str(caught.value) for name in names), str(caught.value)


def write_copy_of_schnell(path: Path) -> None:
    text = resources.files("imagen.backends.comfyui.workflow").joinpath(
        "workflows/flux-schnell.json"
    )
    path.write_text(text.read_text())


def test_a_copy_of_a_built_in_file_is_a_workflow(tmp_path: Path) -> None:
    write_copy_of_schnell(tmp_path / "mine.json")

    workflow = load_workflow(ComfyUISettings(workflow=str(tmp_path / "mine.json")))

    assert workflow.good_steps == (1, 4)


def test_an_exported_graph_is_a_workflow_with_bind(tmp_path: Path) -> None:
    write_copy_of_schnell(tmp_path / "mine.json")
    graph = json.loads((tmp_path / "mine.json").read_text())["graph"]
    (tmp_path / "mine.json").write_text(json.dumps(graph))

    workflow = load_workflow(
        ComfyUISettings(
            workflow=str(tmp_path / "mine.json"),
            bind={"prompt": "6.text", "seed": "25.noise_seed", "cfgish": "17.denoise"},
        )
    )

    assert workflow.options == ("cfgish",)
    assert not workflow.exact_size


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"graph": {}, "bind": {}}', '{"graph": [], "bind": {}}', "[" * 100_000]
)
def test_a_broken_file_is_a_config_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.json").write_text(text)
    # At the depth where Python gives up, the garbage of earlier tests cannot be finalized either.
    gc.collect()
    gc.disable()

    try:
        with pytest.raises(ConfigError, match=r"mine\.json"):
            load_workflow(ComfyUISettings(workflow=str(tmp_path / "mine.json")))
    finally:
        gc.enable()


def test_a_file_that_is_not_here_is_left_to_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_workflow(ComfyUISettings(workflow=str(tmp_path / "mine.json")))


def test_a_folder_is_no_workflow(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_workflow(ComfyUISettings(workflow=str(tmp_path)))
