"""Processes of a test, each with the configuration it is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from imagen.wiring.process import Process, open_process


@pytest.fixture
def make_process(tmp_path: Path) -> Callable[..., Process]:
    """A function that makes a process of this host, whose state is in the test's own folder."""

    def make(settings: Mapping[str, Any] | None = None, **env: str) -> Process:
        path = tmp_path / "imagen.yaml"
        # JSON is YAML, too.
        path.write_text(json.dumps({"backends": {"mock": {"type": "mock"}}, **(settings or {})}))
        state = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "IMAGEN_HOST": "here"}
        return open_process(str(path), state | env)

    return make
