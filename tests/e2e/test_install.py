"""An installed imagen is whole: from a wheel and from a checkout, outside the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import imagen

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PACKAGES = ("imagen", "workers", "migrations")
NOT_SOURCES = shutil.ignore_patterns("__pycache__", "*.pyc")


@dataclass(frozen=True)
class Environment:
    """A virtual environment that has imagen and what it depends on."""

    folder: Path

    def run(self, *command: str, cwd: Path) -> str:
        done = subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _run(*command: str, cwd: Path) -> None:
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _new_environment(folder: Path) -> Environment:
    """Empty, but able to import what is installed here.

    A line of a ``.pth`` file adds a folder without reading that folder's own ``.pth`` files, so
    the editable imagen that the tests themselves run on does not come in with it.
    """
    _run(sys.executable, "-m", "venv", "--without-pip", str(folder), cwd=folder.parent)
    ours = sysconfig.get_path("purelib")
    theirs = sysconfig.get_path("purelib", vars={"base": str(folder)})
    (Path(theirs) / "dependencies.pth").write_text(f"{ours}\n")
    return Environment(folder)


def _install(environment: Environment, *what: str) -> None:
    _run(
        *(sys.executable, "-m", "pip", "--python", str(environment.folder / "bin/python")),
        *("install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", *what),
        cwd=environment.folder,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built: building leaves folders behind, and others test at the same time."""
    folder = tmp_path_factory.mktemp("source") / "imagen"
    folder.mkdir()
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=NOT_SOURCES)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", str(source), cwd=source.parent)
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def from_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = _new_environment(tmp_path_factory.mktemp("from-wheel") / "venv")
    _install(environment, str(wheel))
    return environment


@pytest.fixture(scope="module")
def from_checkout(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = _new_environment(tmp_path_factory.mktemp("from-checkout") / "venv")
    _install(environment, "--editable", str(source))
    return environment


@pytest.fixture(params=["from_wheel", "from_checkout"])
def installed(request: pytest.FixtureRequest) -> Environment:
    """imagen, installed one way and then the other."""
    return request.getfixturevalue(request.param)


def test_a_wheel_holds_every_file_of_the_packages(source: Path, wheel: Path):
    wanted = {
        path.relative_to(source).as_posix()
        for package in PACKAGES
        for path in (source / package).rglob("*")
        if path.is_file()
    }

    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert held == wanted
    assert "imagen/py.typed" in held
    assert "imagen/config/sample.yaml" in held
    assert "migrations/env.py" in held
    assert any(name.startswith("migrations/versions/") for name in held)


def test_a_wheel_carries_the_adapter_suite_and_no_fake_servers(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()

    testing = {name for name in names if name.startswith("imagen/testing/")}
    assert testing == {f"imagen/testing/{name}.py" for name in ("__init__", "contract", "runs")}
    assert [name for name in names if name.startswith("tests") or "fake" in name] == []


def test_a_wheel_carries_the_license(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()

    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")] != []


def test_an_installed_imagen_tells_its_version_outside_the_checkout(
    installed: Environment, tmp_path: Path
):
    said = installed.run("imagen", "version", cwd=tmp_path)

    assert imagen.__version__ in said


def test_an_installed_imagen_is_the_one_that_was_installed(
    installed: Environment, source: Path, tmp_path: Path
):
    where = installed.run("python", "-c", "import imagen; print(imagen.__file__)", cwd=tmp_path)

    found = Path(where.strip()).resolve()
    assert {installed.folder.resolve(), source.resolve()} & set(found.parents)


def test_an_installed_imagen_draws_with_nothing_set_up(installed: Environment, tmp_path: Path):
    said = installed.run(
        *("imagen", "generate", "a lighthouse", "--backend", "mock", "--size", "64x64"),
        cwd=tmp_path,
    )

    image = Path(said.strip())
    assert image.parent == tmp_path
    assert image.stat().st_size > 0


def test_an_installed_imagen_has_its_backends_by_their_entry_points(
    installed: Environment, tmp_path: Path
):
    program = (
        "from importlib.metadata import entry_points\n"
        "for found in entry_points(group='imagen.backends'): found.load(); print(found.name)"
    )

    assert "mock" in installed.run("python", "-c", program, cwd=tmp_path).split()
