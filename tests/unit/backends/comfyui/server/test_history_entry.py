"""The last status message decides how a prompt ended."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.backends.comfyui.server.history_entry import ImageFile, read_ending


def entry(*messages: list[Any], outputs: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "outputs": outputs or {},
        "status": {"status_str": "error", "completed": False, "messages": list(messages)},
    }


def failure(kind: str, message: str) -> dict[str, Any]:
    data = {
        "node_id": "13",
        "node_type": "SamplerCustomAdvanced",
        "exception_type": kind,
        "exception_message": message,
        "current_inputs": {"text": ["a secret fox"]},
    }
    return entry(["execution_start", {}], ["execution_error", data])


def test_the_image_is_the_bound_output_nodes_triple() -> None:
    image = {"filename": "image_00001_.png", "subfolder": "imagen/7", "type": "output"}
    outputs = {"2": {"images": [{"filename": "other.png"}]}, "9": {"images": [image]}}

    ending = read_ending(entry(["execution_success", {}], outputs=outputs), "9")

    assert ending.kind == "success"
    assert ending.images == (ImageFile("image_00001_.png", "imagen/7", "output"),)


def test_an_interrupt_is_no_failure() -> None:
    assert read_ending(entry(["execution_interrupted", {}]), "9").kind == "interrupted"


@pytest.mark.parametrize(
    ("error", "message", "kind"),
    [
        ("torch.OutOfMemoryError", "Allocation on device\nThis error means", "out of memory"),
        ("RuntimeError", "CUDA error: out of memory", "out of memory"),
        ("OSError", "[Errno 28] No space left on device: '/srv/x.png'", "disk full"),
        ("RuntimeError", "boom\n", "failed"),
        ("", "", "failed"),
    ],
)
def test_failures_are_told_apart(error: str, message: str, kind: str) -> None:
    ending = read_ending(failure(error, message), "9")

    assert ending.kind == kind
    assert "node '13' (SamplerCustomAdvanced)" in ending.reason
    assert "secret" not in ending.reason
    assert "/srv" not in ending.reason


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"status": None},
        {"status": {"messages": [[]]}},
        {"status": {"messages": "x"}},
        {"status": {"messages": [["execution_error", None]]}},
    ],
)
def test_an_entry_that_says_nothing_is_a_failure(broken: dict[str, Any]) -> None:
    assert read_ending(broken, "9").kind == "failed"


@pytest.mark.parametrize("outputs", [{}, {"9": None}, {"9": {"images": [{}, None]}}])
def test_a_success_without_a_usable_image_has_none(outputs: dict[str, Any]) -> None:
    ending = read_ending(entry(["execution_success", {}], outputs=outputs), "9")

    assert ending.images == ()
