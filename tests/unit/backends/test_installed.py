"""Tests of imagen.backends.installed: plug-ins found, imported late, broken ones only told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from imagen.backends.installed import InstalledAdapters
from imagen.errors import ConfigError
from tests.fakes.adapters import install


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``plug_in("acme", {"t": "acme_t:adapter"}, acme_t="code")``: a distribution, installed."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(distribution: str, types: Mapping[str, str], **modules: str) -> None:
        info = tmp_path / f"{distribution}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2")
        lines = [f"{name} = {value}" for name, value in types.items()]
        (info / "entry_points.txt").write_text("\n".join(["[imagen.backends]", *lines]))
        for name, code in modules.items():
            (tmp_path / f"{name}.py").write_text(code)
            # Forgotten again when the test is over.
            monkeypatch.setitem(sys.modules, name, None)
            del sys.modules[name]

    return install


GOOD = """
from pydantic import BaseModel
class Settings(BaseModel):
    pass
class Adapter:
    default_queue = "cloud"
    settings_type = Settings
    def build(self, name, settings, context):
        return name
adapter = Adapter()
"""


def test_a_plug_in_is_found_and_imported_only_when_its_type_is_used(
    plug_in: Callable[..., None],
) -> None:
    plug_in("acme", {"acme": "acme_good:adapter"}, acme_good=GOOD)
    adapters = InstalledAdapters()

    assert "acme" in adapters
    assert "acme" in adapters.types()
    assert "acme_good" not in sys.modules
    assert adapters.load("acme").default_queue == "cloud"
    assert str(adapters.origins()["acme"]) == "acme 1.2"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def (", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("other = 1", "AttributeError"),
        ("adapter = 5", "has no settings_type that is a pydantic model"),
        ("class adapter: pass", "is a class; an adapter is an object"),
        (GOOD.replace("default_queue", "queue"), "has no default_queue"),
        (GOOD.replace("def build", "def make"), "has no build method"),
    ],
)
def test_a_broken_plug_in_is_listed_as_broken_and_raises_only_when_used(
    plug_in: Callable[..., None], code: str, why: str
) -> None:
    plug_in("acme", {"acme": "acme_bad:adapter"}, acme_bad=code)
    adapters = InstalledAdapters()

    origin = adapters.origins()["acme"]
    with pytest.raises(ConfigError) as caught:
        adapters.load("acme")

    assert origin.distribution == "acme 1.2"
    assert why in origin.error
    assert str(origin).startswith("broken (backend type 'acme' of acme 1.2")
    assert "acme 1.2" in str(caught.value)


def test_two_distributions_of_one_type_are_both_named(plug_in: Callable[..., None]) -> None:
    plug_in("acme", {"twice": "acme_good:adapter"}, acme_good=GOOD)
    plug_in("bolt", {"twice": "acme_good:adapter"})

    with pytest.raises(ConfigError) as caught:
        InstalledAdapters().load("twice")

    assert "acme 1.2" in str(caught.value)
    assert "bolt 1.2" in str(caught.value)


def test_another_distribution_cannot_replace_a_built_in_type(plug_in: Callable[..., None]) -> None:
    # Wherever this runs, `mock` of imagen itself is installed.
    plug_in("acme", {"mock": "acme_good:adapter"}, acme_good=GOOD)

    with pytest.raises(ConfigError) as caught:
        InstalledAdapters().load("no-such")
    InstalledAdapters().origins()

    assert "mock" in str(caught.value)
    assert "acme_good" not in sys.modules


def test_an_unknown_type_is_named_with_a_near_miss_and_the_list() -> None:
    with pytest.raises(ConfigError) as caught:
        install(comfyui=None, mock=None).load("comfyuii")

    assert str(caught.value) == (
        "unknown backend type 'comfyuii'; did you mean 'comfyui'? installed types: comfyui, mock"
    )
