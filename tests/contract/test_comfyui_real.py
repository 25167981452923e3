"""The same promises against a real ComfyUI, when the environment names one.

``IMAGEN_TEST_COMFYUI_URL=http://127.0.0.1:8188`` collects these tests with the ``smoke``
workflow, which needs no model; ``IMAGEN_TEST_COMFYUI_FLUX=1`` adds the FLUX workflows, whose
model files the server must have. Without the first nothing is collected here: what is promised
is tested against the fake in any case.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from imagen.backends.comfyui import adapter
from imagen.backends.comfyui.settings import ComfyUISettings
from imagen.domain.protocols import Backend
from imagen.testing.contract import BackendContract
from tests.fakes.adapters import unused_context

_URL = os.environ.get("IMAGEN_TEST_COMFYUI_URL", "")
_WITH_FLUX = os.environ.get("IMAGEN_TEST_COMFYUI_FLUX") == "1"
_WORKFLOWS = ("smoke", *(("flux-schnell", "flux-dev") if _WITH_FLUX else ()))


if _URL:

    @pytest.mark.parametrize("workflow", _WORKFLOWS, scope="class")
    class TestRealServer(BackendContract):
        @pytest.fixture
        def backend(self, workflow: str) -> Iterator[Backend]:
            settings = ComfyUISettings(url=_URL, workflow=workflow)
            backend = adapter.build(f"real-{workflow}", settings, unused_context())
            yield backend
            backend.close()
