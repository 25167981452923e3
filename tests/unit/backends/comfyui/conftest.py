"""A fake server and quick backends to draw on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from imagen.backends.comfyui.backend import ComfyUIBackend
from imagen.backends.comfyui.run.timings import Timings
from imagen.backends.comfyui.settings import ComfyUISettings
from imagen.domain.request import ImageRequest
from tests.fakes.comfyui import FakeComfyUI

QUICK = Timings(
    tick_s=0.02,
    poll_s=0.05,
    lag_s=0.002,
    reconnect_s=0.05,
    retry_s=0.01,
    free_s=0.01,
)

MakeBackend = Callable[..., ComfyUIBackend]


@pytest.fixture
def fake() -> Iterator[FakeComfyUI]:
    with FakeComfyUI() as fake:
        yield fake


@pytest.fixture
def make_backend(fake: FakeComfyUI) -> Iterator[MakeBackend]:
    """Backends on the fake, closed at the end; settings as keywords, ``stop_s``, ``poll_s``."""
    made: list[ComfyUIBackend] = []

    def make(
        *,
        env: dict[str, str] | None = None,
        stop_s: float = 2.0,
        poll_s: float = QUICK.poll_s,
        **settings: Any,
    ) -> ComfyUIBackend:
        values = {"url": fake.url, "workflow": "flux-schnell", "restart_wait_s": 10.0, **settings}
        timings = replace(QUICK, stop_s=stop_s, poll_s=poll_s)
        backend = ComfyUIBackend("gpu-box", ComfyUISettings(**values), env or {}, timings=timings)
        made.append(backend)
        return backend

    yield make
    for backend in made:
        backend.close()


@pytest.fixture
def backend(make_backend: MakeBackend) -> ComfyUIBackend:
    return make_backend()


@pytest.fixture
def fox() -> ImageRequest:
    return ImageRequest("a red fox", "a red fox, ink", width=64, height=64, seed=7)
