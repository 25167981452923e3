"""Check says whether a server can draw this workflow, why not, and what to do."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from imagen.backends.comfyui.backend import ComfyUIBackend
from tests.fakes.comfyui import FakeComfyUI

MakeBackend = Callable[..., ComfyUIBackend]


@pytest.mark.parametrize("workflow", ["flux-schnell", "flux-dev", "flux-checkpoint", "smoke"])
def test_a_server_with_everything_is_ok(make_backend: MakeBackend, workflow: str) -> None:
    health = make_backend(workflow=workflow).check()

    assert health.is_ok, str(health)
    assert health.reason == "ComfyUI 0.3.64, Fake GPU (20.0 of 24.0 GiB free)"
    assert health.warnings == ()


def test_a_missing_model_file_is_named_with_what_is_there(make_backend: MakeBackend) -> None:
    health = make_backend(model="nope.safetensors").check()

    assert health.state == "unreachable"
    assert "unet_name 'nope.safetensors' is not on this server" in health.reason
    assert "flux1-dev.safetensors" in health.reason


def test_a_missing_node_class_is_named(make_backend: MakeBackend, fake: FakeComfyUI) -> None:
    del fake.nodes["BasicGuider"]

    health = make_backend().check()

    assert "'BasicGuider'" in health.reason
    assert "custom node" in health.hint


def test_a_server_that_is_not_there_asks_whether_it_runs(
    make_backend: MakeBackend, fake: FakeComfyUI
) -> None:
    fake.kill()

    health = make_backend().check()

    assert health.state == "unreachable"
    assert "connection refused" in health.reason
    assert health.hint.startswith("is ComfyUI running?")


@pytest.mark.parametrize(
    ("status", "body"), [(502, "<html>"), (200, "<html>"), (200, "{}"), (302, ""), (404, "")]
)
def test_something_else_at_the_url_is_no_comfyui(
    make_backend: MakeBackend, fake: FakeComfyUI, status: int, body: str
) -> None:
    fake.inject("answer", status=status, body=body)

    health = make_backend().check()

    assert health.state == "unreachable"
    assert health.hint


def test_a_missing_variable_is_not_configured(make_backend: MakeBackend) -> None:
    health = make_backend(headers_env="KEY").check()

    assert health.state == "not configured"
    assert "set KEY" in str(health)


def test_a_missing_workflow_file_is_not_configured(
    make_backend: MakeBackend, tmp_path: Path
) -> None:
    health = make_backend(workflow=str(tmp_path / "mine.json")).check()

    assert health.state == "not configured"
    assert "mine.json" in health.reason


def test_an_old_version_on_a_cpu_can_draw_and_is_warned_about(
    make_backend: MakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = {"system": {"comfyui_version": "0.3.9"}, "devices": [{"name": "cpu", "type": "cpu"}]}
    monkeypatch.setattr("tests.fakes.comfyui.views._stats", lambda _version: stats)

    health = make_backend().check()

    assert health.is_ok
    assert health.reason == "ComfyUI 0.3.9, cpu"
    assert len(health.warnings) == 2


def test_a_server_that_hangs_is_given_up_in_time(make_backend: MakeBackend) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        health = make_backend(url=f"http://127.0.0.1:{silent.getsockname()[1]}").check()

    assert "timed out" in health.reason
