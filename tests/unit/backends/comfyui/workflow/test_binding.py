"""A user's own workflow says by titles or by bind where prompt, seed and the rest go."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.backends.comfyui.workflow.binding import NodeInput, bind
from imagen.backends.comfyui.workflow.graph import check_graph
from imagen.errors import ConfigError


def make_graph() -> dict[str, Any]:
    return {
        "3": {
            "class_type": "KSampler",
            "_meta": {"title": "imagen:seed, imagen:steps"},
            "inputs": {"seed": 1, "steps": 20, "cfg": 7, "latent_image": ["5", 0]},
        },
        "5": {
            "class_type": "EmptyLatentImage",
            "_meta": {"title": "imagen:size"},
            "inputs": {"width": 512, "height": 512, "batch_size": 1},
        },
        "6": {
            "class_type": "CLIPTextEncode",
            "_meta": {"title": "imagen:prompt"},
            "inputs": {"text": "a fox", "clip": ["4", 1]},
        },
        "7": {
            "class_type": "CLIPTextEncode",
            "_meta": {"title": "What to avoid"},
            "inputs": {"text": "", "clip": ["4", 1]},
        },
        "9": {
            "class_type": "SaveImage",
            "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]},
        },
    }


def test_titles_bind_the_inputs_of_that_name() -> None:
    found = bind(make_graph(), {}, where="w")

    assert found.inputs == {
        "seed": (NodeInput("3", "seed"),),
        "steps": (NodeInput("3", "steps"),),
        "width": (NodeInput("5", "width"),),
        "height": (NodeInput("5", "height"),),
        "prompt": (NodeInput("6", "text"),),
    }


def test_the_only_node_that_saves_is_the_output() -> None:
    assert bind(make_graph(), {}, where="w").output == "9"


def test_bind_wins_over_titles() -> None:
    found = bind(make_graph(), {"prompt": "7.text"}, where="w")

    assert found.inputs["prompt"] == (NodeInput("7", "text"),)


def test_bind_finds_a_node_by_its_title_and_takes_several() -> None:
    wanted = {"negative": "What to avoid.text", "width": ["5.width", "5.height"], "cfg": "3.cfg"}

    found = bind(make_graph(), wanted, where="w")

    assert found.inputs["negative"] == (NodeInput("7", "text"),)
    assert found.inputs["width"] == (NodeInput("5", "width"), NodeInput("5", "height"))
    assert found.inputs["cfg"] == (NodeInput("3", "cfg"),)


def test_several_nodes_may_take_the_same_value() -> None:
    graph = make_graph()
    graph["7"]["_meta"]["title"] = "imagen:prompt"

    found = bind(graph, {}, where="w")

    assert found.inputs["prompt"] == (NodeInput("6", "text"), NodeInput("7", "text"))


def test_a_title_of_the_users_own_makes_an_option() -> None:
    graph = make_graph()
    graph["3"]["_meta"]["title"] += " imagen:cfg"

    assert bind(graph, {}, where="w").inputs["cfg"] == (NodeInput("3", "cfg"),)


@pytest.mark.parametrize(
    ("node", "change", "names"),
    [
        ("6", {"_meta": {}}, ["prompt", "imagen:prompt"]),
        ("3", {"_meta": {}}, ["seed"]),
        ("6", {"inputs": {"text": ["2", 0]}}, ["'6'", "prompt"]),
        ("6", {"inputs": {"clip_l": "", "t5xxl": ""}}, ["'6'", "clip_l", "t5xxl", "ambiguous"]),
        ("9", {"class_type": "VAEDecode"}, ["no node saves"]),
        ("7", {"class_type": "SaveImage"}, ["7", "9", "imagen:output"]),
        ("9", {"inputs": {"images": ["8", 0]}}, ["'9'", "filename_prefix"]),
    ],
)
def test_what_is_missing_or_ambiguous_is_named(
    node: str, change: dict[str, Any], names: list[str]
) -> None:
    graph = make_graph()
    graph[node] |= change

    with pytest.raises(ConfigError) as caught:
        bind(graph, {}, where="w")

    assert all(name in str(caught.value) for name in names), str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"prompt": "6"}, ["NODE.INPUT"]),
        ({"prompt": "66.text"}, ["'66'", "3, 5, 6"]),
        ({"prompt": "6.txt"}, ["'6'", "'txt'", "text, clip"]),
        ({"prompt": "6.clip"}, ["'6'", "'clip'", "'4'"]),
        ({"output": "99"}, ["'99'"]),
        ({"output": ["9"]}, ["one node"]),
        ({"prompt": []}, ["prompt"]),
    ],
)
def test_a_wrong_bind_is_named(wanted: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        bind(make_graph(), wanted, where="w")

    assert all(name in str(caught.value) for name in names), str(caught.value)


def test_a_title_that_two_nodes_have_is_ambiguous_in_bind() -> None:
    graph = make_graph()
    graph["3"]["_meta"]["title"] = "What to avoid"

    with pytest.raises(ConfigError, match="nodes 3, 7"):
        bind(graph, {"negative": "What to avoid.text"}, where="w")


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ([], ["Export (API)"]),
        ({}, ["Export (API)"]),
        ({"nodes": [], "links": []}, ["UI format", "Export (API)"]),
        ({"1": {"inputs": {}}}, ["'1'", "class_type"]),
        ({"1": "x"}, ["'1'"]),
        ({"1": {"class_type": "SaveImage"}}, ["'1'", "inputs"]),
        ({"1": {"class_type": "SaveImage", "inputs": None}}, ["'1'", "inputs"]),
        ({"1": {"class_type": "SaveImage", "inputs": []}}, ["'1'", "inputs"]),
    ],
)
def test_what_would_kill_the_servers_worker_is_no_graph(data: object, names: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_graph(data, "w")

    assert all(name in str(caught.value) for name in names), str(caught.value)
