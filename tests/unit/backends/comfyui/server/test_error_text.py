"""ComfyUI's complaints become one sentence that names node, input and value."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.backends.comfyui.server.error_text import (
    explain_refusal,
    offered_values,
    shorten,
    without,
)


def node_error(**error: Any) -> dict[str, Any]:
    return {"node_errors": {"12": {"errors": [error], "class_type": "UNETLoader"}}}


def test_a_missing_model_names_what_the_server_has() -> None:
    body = node_error(
        type="value_not_in_list",
        message="Value not in list",
        details="unet_name: 'x.safetensors' not in ['a.safetensors']",
        extra_info={
            "input_name": "unet_name",
            "input_config": [["a.safetensors", "b.safetensors"], {}],
            "received_value": "x.safetensors",
        },
    )

    assert explain_refusal(body) == (
        "node '12' (UNETLoader): unet_name 'x.safetensors' is not on this server; "
        "it has: a.safetensors, b.safetensors"
    )


def test_a_long_list_is_not_sent_by_the_server() -> None:
    info = {"input_name": "unet_name", "input_config": None, "received_value": "x"}

    sentence = explain_refusal(node_error(type="value_not_in_list", extra_info=info))

    assert "more than 20" in sentence


def test_a_value_out_of_range_names_the_range() -> None:
    info = {
        "input_name": "width",
        "input_config": ["INT", {"min": 16, "max": 16384}],
        "received_value": 8,
    }

    sentence = explain_refusal(
        node_error(
            type="value_smaller_than_min", message="Value 8 smaller than min of 16", extra_info=info
        )
    )

    assert "width 8: Value 8 smaller than min of 16 (min 16, max 16384)" in sentence


def test_what_the_user_wrote_is_not_quoted() -> None:
    info = {"input_name": "text", "received_value": "a secret fox"}

    sentence = explain_refusal(node_error(type="invalid_input_type", message="no", extra_info=info))

    assert "secret" not in sentence


def test_an_unknown_node_class_is_named() -> None:
    body = {
        "error": {
            "type": "invalid_prompt",
            "message": "Cannot execute because node NoSuchNode does not exist.",
            "details": "Node ID '#3'",
        },
        "node_errors": {},
    }

    assert explain_refusal(body) == (
        "Cannot execute because node NoSuchNode does not exist: Node ID '#3'"
    )


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"error": None},
        {"error": "text"},
        {"node_errors": {"1": None}},
        {"node_errors": {"1": {"errors": None}}},
        {"node_errors": {"1": {"errors": [{"type": "x", "extra_info": None}]}}},
        {"error": {"message": 7, "details": None}},
        {"node_errors": []},
    ],
)
def test_any_body_gives_a_sentence(body: dict[str, Any]) -> None:
    assert explain_refusal(body)


def test_server_paths_and_traceback_lines_are_cut() -> None:
    text = shorten("[Errno 28] No space:\n '/srv/comfy/output/imagen/x.png' " + "y" * 400)

    assert "/srv" not in text
    assert "…/x.png" in text
    assert len(text) <= 300
    assert "\n" not in text


def test_urls_stay_readable() -> None:
    assert shorten("see http://gpu:8188/a/b now") == "see http://gpu:8188/a/b now"


def test_what_the_user_wrote_is_taken_out() -> None:
    assert without("failed on a red fox today", "a red fox", "") == "failed on … today"
    assert without("a failed cat", "a") == "… failed cat"


@pytest.mark.parametrize(
    ("config", "offered"),
    [
        ([["a", "b"], {}], ["a", "b"]),
        (["COMBO", {"options": ["a"]}], ["a"]),
        (["INT", {"min": 1}], None),
        (["MODEL"], None),
        (None, None),
        ([], None),
    ],
)
def test_choices_are_found_in_old_and_new_descriptions(
    config: object, offered: list[str] | None
) -> None:
    assert offered_values(config) == offered
