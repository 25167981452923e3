"""The ComfyUI adapter keeps the promises of every backend, against the fake server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from imagen.backends.adapter import AdapterContext
from imagen.backends.comfyui import adapter
from imagen.backends.comfyui.settings import ComfyUISettings
from imagen.domain.protocols import Backend
from imagen.testing.contract import BackendContract
from tests.fakes.comfyui import FakeComfyUI

TOKEN = "test-token"


class _Nothing:
    """A context that a backend with its own GPU never asks."""

    def wait(self, key: str, limits: tuple[str, ...], *, timeout_s: float) -> None:
        raise AssertionError("asked for a rate limit")

    def expected_s(self, backend: str, work: object = None) -> float | None:
        raise AssertionError("asked for durations")

    def owned(self, place: str, external_ids: tuple[str, ...]) -> frozenset[str]:
        raise AssertionError("asked for attempts")


def build(url: str, workflow: str) -> Backend:
    context = AdapterContext(
        env={"COMFY_TOKEN": TOKEN},
        limiter=_Nothing(),
        durations=_Nothing(),
        attempts=_Nothing(),
    )
    settings = ComfyUISettings(url=url, workflow=workflow, headers_env="COMFY_TOKEN")
    return adapter.build("under-test", settings, context)


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
