"""``imagen show``: what an image file knows about itself, whoever made it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.fakes.comfyui import FakeComfyUI

PARAMETERS = (
    "a lighthouse, oil\nNegative prompt: text, people\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 64x64, "
    'Model: sd_xl, Lora: "a: b, c"'
)
GRAPH = {
    "3": {
        "class_type": "KSampler",
        "inputs": {"seed": 42, "steps": 4, "positive": ["9", 0], "negative": ["7", 0]},
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "flux.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "people", "clip": ["4", 1]}},
    "9": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["6", 0], "guidance": 3.5}},
}


def save(path: Path, **texts: str) -> Path:
    """A PNG of another program, with these texts."""
    info = PngInfo()
    for name, text in texts.items():
        info.add_itxt(name, text, zip=name == "workflow")
    Image.new("RGB", (64, 32), "teal").save(path, pnginfo=info)
    return path


def save_exif(path: Path, comment: bytes = b"", model: str = "") -> Path:
    exif = Image.Exif()
    if comment:
        exif.get_ifd(0x8769)[0x9286] = comment
    if model:
        exif[0x0110] = model
    Image.new("RGB", (64, 32), "teal").save(path, exif=exif)
    return path


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_an_image_of_ours_tells_all_in_every_format(imagen: Any, draw: Any, suffix: str) -> None:
    drawn = draw("a red fox, größe 猫", "--output", f"fox.{suffix}", "--seed", "7", "--json").json

    shown = imagen("show", f"fox.{suffix}").out
    facts = imagen("show", f"fox.{suffix}", "--json").json

    assert "a red fox, größe 猫" in shown
    assert drawn["id"] in shown
    assert facts["source"] == "imagen"
    assert facts["record"]["seed"] == 7
    assert facts["sha256"] == drawn["sha256"]
    assert facts["error"] is None


def test_a_safe_image_tells_no_prompt(imagen: Any, draw: Any, configure: Any) -> None:
    configure("output: {metadata: safe}\n")
    draw("my secret wish", "--output", "fox.png", "--seed", "7")

    shown = imagen("show", "fox.png").out

    assert "secret" not in shown
    assert "seed" in shown


def test_an_image_without_metadata_says_so(imagen: Any, draw: Any, configure: Any) -> None:
    configure("output: {metadata: none}\n")
    draw("a red fox", "--output", "fox.png")

    done = imagen("show", "fox.png")

    assert done.code == 0
    assert "says nothing about how it was made" in done.err
    assert imagen("show", "fox.png", "--json").json["source"] is None


@pytest.mark.parametrize(
    ("suffix", "comment"),
    [
        ("jpg", b"UNICODE\0" + PARAMETERS.encode("utf-16-be")),
        ("jpg", b"UNICODE\0" + PARAMETERS.encode("utf-16-le")),
        ("webp", b"ASCII\0\0\0" + PARAMETERS.encode()),
        ("png", b""),
    ],
)
def test_parameters_of_other_programs_are_read(
    imagen: Any, tmp_path: Path, suffix: str, comment: bytes
) -> None:
    path = tmp_path / f"theirs.{suffix}"
    if comment:
        save_exif(path, comment)
    else:
        save(path, parameters=PARAMETERS)

    facts = imagen("show", str(path), "--json").json

    assert facts["source"] == "a1111"
    record = facts["record"]
    assert (record["prompt"], record["negative"]) == ("a lighthouse, oil", "text, people")
    assert (record["Seed"], record["Sampler"], record["Lora"]) == ("42", "Euler a", "a: b, c")
    assert facts["texts"]["parameters"] == PARAMETERS
    assert "a lighthouse, oil" in imagen("show", str(path)).out


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_graphs_of_comfyui_are_read(imagen: Any, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"theirs.{suffix}"
    if suffix == "png":
        save(path, prompt=json.dumps(GRAPH), workflow="{}")
    else:
        save_exif(path, model=f"prompt:{json.dumps(GRAPH)}")

    facts = imagen("show", str(path), "--json").json

    assert facts["source"] == "comfyui"
    assert facts["record"] == {
        "seed": 42,
        "steps": 4,
        "prompt": "a lighthouse",
        "negative": "people",
        "model": "flux.safetensors",
    }


@pytest.mark.parametrize("prompt", ["{", "[]", '"words"', '{"1": 5}', "[" * 5000, '{"1": {}}'])
def test_a_graph_that_is_none_is_no_trouble(imagen: Any, tmp_path: Path, prompt: str) -> None:
    done = imagen("show", str(save(tmp_path / "odd.png", prompt=prompt)))

    assert done.code == 0


def test_a_graph_that_leads_in_circles_ends(imagen: Any, tmp_path: Path) -> None:
    circle = {"1": {"inputs": {"positive": ["1", 0], "conditioning": ["1", 0]}}}

    assert imagen("show", str(save(tmp_path / "odd.png", prompt=json.dumps(circle)))).code == 0


def test_words_that_would_paint_the_terminal_are_shown_as_they_are(
    imagen: Any, tmp_path: Path
) -> None:
    path = save(tmp_path / "odd.png", parameters="red \x1b[31m\nSteps: 4")

    assert "\x1b" not in imagen("show", str(path)).out


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("words.png", b"hello", "not a PNG, JPEG or WebP image"),
        ("page.png", b"<html>", "an HTML page"),
        ("empty.png", b"", "nothing: 0 bytes"),
        ("cut.png", b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR", "cut off"),
    ],
)
def test_what_is_no_image_is_named(
    imagen: Any, tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    (tmp_path / name).write_bytes(content)

    done = imagen("show", name)

    assert done.code == 2
    assert complaint in done.err
    assert name in done.err


def test_a_cut_off_image_is_named(imagen: Any, draw: Any, tmp_path: Path) -> None:
    draw("a red fox", "--output", "fox.png")
    data = (tmp_path / "fox.png").read_bytes()
    (tmp_path / "fox.png").write_bytes(data[: len(data) // 2])

    done = imagen("show", "fox.png", "--json")

    assert done.code == 2
    assert done.json["error"]["code"] == "request"


@pytest.mark.parametrize("name", ["nothing.png", "."])
def test_a_file_that_is_not_there_is_named(imagen: Any, name: str) -> None:
    assert imagen("show", name).code == 2


@pytest.mark.parametrize(
    ("between", "negative"),
    [
        ({"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["6", 0]}}, None),
        ({"class_type": "FluxGuidance", "inputs": {"conditioning": ["7", 0]}}, "people"),
        ({"class_type": "FluxGuidance", "inputs": {"conditioning": ["6", 0]}}, None),
    ],
    ids=["zeroed out", "through a node", "one text for both"],
)
def test_no_positive_prompt_is_called_the_negative(
    imagen: Any, tmp_path: Path, between: dict[str, Any], negative: str | None
) -> None:
    # What leads to the negative stands first: the order in a file says nothing.
    sampler = {"class_type": "KSampler", "inputs": {"positive": ["9", 0], "negative": ["1", 0]}}
    graph = {"1": between, **GRAPH, "3": sampler}
    save(tmp_path / "theirs.png", prompt=json.dumps(graph))

    record = imagen("show", "theirs.png", "--json").json["record"]

    assert record["prompt"] == "a lighthouse"
    assert record.get("negative") == negative


def test_a_guiders_only_conditioning_is_the_prompt(imagen: Any, tmp_path: Path) -> None:
    guider = {"class_type": "BasicGuider", "inputs": {"conditioning": ["9", 0]}}
    save(tmp_path / "theirs.png", prompt=json.dumps({**GRAPH, "3": guider}))

    assert imagen("show", "theirs.png", "--json").json["record"]["prompt"] == "a lighthouse"


def test_a_webp_of_comfyui_tells_the_same_graph_as_its_png(imagen: Any, configure: Any) -> None:
    with FakeComfyUI() as fake:
        configure(f"backends: {{gpu: {{type: comfyui, url: '{fake.url}'}}}}\n")
        asked = (
            "generate",
            "a red fox, für 猫",
            "--backend",
            "gpu",
            "--size",
            "64x64",
            "--seed",
            "7",
        )
        for name in ("fox.png", "fox.webp"):
            assert imagen(*asked, "--output", name).code == 0

    png, webp = (
        imagen("show", name, "--json").json["texts"]["prompt"] for name in ("fox.png", "fox.webp")
    )
    graphs = [json.loads(text) for text in (png, webp)]
    for graph in graphs:
        # Each attempt has a prefix of its own.
        graph["9"]["inputs"].pop("filename_prefix")
    assert graphs[0] == graphs[1]
