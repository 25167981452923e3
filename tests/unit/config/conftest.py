"""A file to load, and a home that is nobody's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from imagen.config.load import load_config
from imagen.config.schema import Config
from imagen.errors import ConfigError

Load = Callable[..., Config]
Complaints = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """``load(text, IMAGEN_PREVIEW="on")``: the configuration of a file called ~/imagen.yaml."""

    def load_text(content: str | bytes, **env: str) -> Config:
        path = tmp_path / "imagen.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_config(path, {"HOME": str(tmp_path), **env})

    return load_text


@pytest.fixture
def complaints(load: Load) -> Complaints:
    """``complaints(text)``: the lines of the error that such a file ends in."""

    def refused(content: str | bytes, **env: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(content, **env)
        return str(caught.value).splitlines()

    return refused
