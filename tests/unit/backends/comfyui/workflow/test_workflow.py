"""Filling a graph changes what is bound and nothing else."""

from __future__ import annotations

import copy
import dataclasses

import pytest

from imagen.backends.comfyui.settings import ComfyUISettings
from imagen.backends.comfyui.workflow.binding import Bindings, NodeInput
from imagen.backends.comfyui.workflow.library import load_workflow
from imagen.backends.comfyui.workflow.workflow import Workflow, models_in
from imagen.errors import RequestError


@pytest.fixture
def dev() -> Workflow:
    return load_workflow(ComfyUISettings(workflow="flux-dev"))


def test_filling_leaves_the_workflow_alone(dev: Workflow) -> None:
    before = copy.deepcopy(dev.graph)

    dev.fill({"prompt": "a fox", "seed": 5}, filename_prefix="x")

    assert dev.graph == before


def test_dev_tells_both_nodes_the_size(dev: Workflow) -> None:
    graph = dev.fill({"width": 640, "height": 320}, filename_prefix="x")

    for node in ("5", "30"):
        assert (graph[node]["inputs"]["width"], graph[node]["inputs"]["height"]) == (640, 320)


def test_the_output_gets_the_prefix(dev: Workflow) -> None:
    graph = dev.fill({}, filename_prefix="imagen/7/image")

    assert graph["9"]["inputs"]["filename_prefix"] == "imagen/7/image"


def test_large_seeds_stay_exact(dev: Workflow) -> None:
    graph = dev.fill({"seed": 2**63 - 1}, filename_prefix="x")

    assert graph["31"]["inputs"]["seed"] == 2**63 - 1


def test_smoke_makes_a_colour_of_any_seed() -> None:
    smoke = load_workflow(ComfyUISettings(workflow="smoke"))

    graph = smoke.fill({"seed": 2**63 - 1}, filename_prefix="x")

    assert 0 <= graph["1"]["inputs"]["color"] <= 0xFFFFFF


def test_dev_options_are_its_bindings_without_files_and_request(dev: Workflow) -> None:
    assert dev.options == (
        *("base_shift", "denoise", "guidance", "max_shift", "sampler", "scheduler"),
    )


def test_an_unknown_option_lists_the_known_ones(dev: Workflow) -> None:
    with pytest.raises(RequestError, match=r"'cfg'.*guidance, max_shift"):
        dev.parse_option("cfg", "1")


def test_options_become_values_of_their_kind(dev: Workflow) -> None:
    assert dev.parse_option("guidance", "4.5") == 4.5
    assert dev.parse_option("sampler", "heun") == "heun"


@pytest.mark.parametrize("text", ["much", "nan", "inf", "1e999", ""])
def test_a_number_must_be_one(dev: Workflow, text: str) -> None:
    with pytest.raises(RequestError, match="guidance"):
        dev.parse_option("guidance", text)


def test_an_option_may_choose_the_model_that_the_graph_loads(dev: Workflow) -> None:
    bindings = Bindings({**dev.bindings.inputs, "base": (NodeInput("12", "unet_name"),)}, "9")
    own = dataclasses.replace(dev, bindings=bindings)

    assert models_in(own.fill({"base": "mine.safetensors"})) == "mine.safetensors"
    assert models_in(own.fill({})) == models_in(dev.graph) == "flux1-dev.safetensors"
