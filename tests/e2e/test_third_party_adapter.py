"""A third party's adapter is a package of its own; docs/adapters.md shows one that works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"


def block(page: str, language: str, number: int = 0) -> str:
    """A block of code of the page, as a reader would copy it."""
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)[number]


def run(*command: str, cwd: Path, site: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text()


@pytest.fixture(scope="module")
def site(page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's package is installed."""
    source = tmp_path_factory.mktemp("imagen-plain")
    (source / "pyproject.toml").write_text(block(page, "toml"))
    (source / "imagen_plain.py").write_text(block(page, "python"))
    target = tmp_path_factory.mktemp("site")
    done = run(
        *("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"),
        *("--disable-pip-version-check", "--target", str(target), str(source)),
        cwd=source,
        site=target,
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def configured(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "imagen.yaml"
    path.write_text(block(page, "yaml"))
    monkeypatch.setenv("IMAGEN_CONFIG", str(path))
    return path


def test_installing_a_package_is_enough_to_draw_with_it(
    site: Path, configured: Path, tmp_path: Path
) -> None:
    done = run(
        *("-m", "imagen", "generate", "a quiet sea", "--backend", "my-plain"),
        *("--size", "64x64", "--seed", "7", "--output", "sea.png"),
        cwd=tmp_path,
        site=site,
    )

    assert done.returncode == 0, done.stderr
    with Image.open(done.stdout.strip()) as picture:
        assert picture.size == (64, 64)
        assert picture.getpixel((0, 0)) == (7, 0, 200)


def test_its_sub_block_is_checked_line_by_line(
    site: Path, configured: Path, tmp_path: Path
) -> None:
    configured.write_text("backends:\n  my-plain:\n    type: plain\n    bleu: 3\n")
    done = run("-m", "imagen", "config", "validate", cwd=tmp_path, site=site)

    assert done.returncode == 3
    assert "imagen.yaml:4: unknown key 'bleu'" in done.stderr
    assert "did you mean 'blue'?" in done.stderr


def test_it_is_listed_with_who_brought_it(site: Path, configured: Path, tmp_path: Path) -> None:
    done = run("-m", "imagen", "backends", cwd=tmp_path, site=site)

    assert "my-plain" in done.stdout
    assert "plain (imagen-plain 1.0)" in done.stderr


def test_it_passes_the_contract_as_the_page_shows(page: str, site: Path, tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text(block(page, "python", 1))
    done = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_plain.py", cwd=tmp_path, site=site
    )

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
