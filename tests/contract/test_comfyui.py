"""The ComfyUI adapter keeps the promises of every backend, against the fake server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from imagen.backends.comfyui import adapter
from imagen.backends.comfyui.settings import ComfyUISettings
from imagen.domain.protocols import Backend
from imagen.testing.contract import BackendContract
from tests.fakes.adapters import unused_context
from tests.fakes.comfyui import FakeComfyUI

TOKEN = "test-token"


def build(url: str, workflow: str) -> Backend:
    settings = ComfyUISettings(url=url, workflow=workflow, headers_env="COMFY_TOKEN")
    return adapter.build("under-test", settings, unused_context({"COMFY_TOKEN": TOKEN}))


class ComfyUIContract(BackendContract):
    workflow = ""
    secrets = (TOKEN,)

    @pytest.fixture
    def fake(self) -> Iterator[FakeComfyUI]:
        with FakeComfyUI(required_header=("Authorization", f"Bearer {TOKEN}")) as fake:
            yield fake

    @pytest.fixture
    def backend(self, fake: FakeComfyUI) -> Iterator[Backend]:
        self._fake = fake
        backend = build(fake.url, self.workflow)
        yield backend
        backend.close()

    def count_drawings(self, backend: Backend) -> int:
        return self._fake.records.count_drawings()


class TestSchnell(ComfyUIContract):
    workflow = "flux-schnell"


class TestDev(ComfyUIContract):
    workflow = "flux-dev"


class TestCheckpoint(ComfyUIContract):
    workflow = "flux-checkpoint"


class TestSmoke(ComfyUIContract):
    workflow = "smoke"
