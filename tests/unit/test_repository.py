"""Rules that every file of the project keeps."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON_FOLDERS = ("imagen", "workers", "migrations", "tests", "benchmarks")
NOT_OURS = (".git", ".coverage", "__pycache__")
TEXT_FILES = (".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".json", ".mako", ".cfg", "")
MOST_LINES = 400
#: Besides ``__init__.py``.
MOST_FILES = 15
PRODUCT = ("imagen", "workers")
#: Helpers of tests that are read beside the product.
TEST_PARTS = ("tests/chaos", "tests/fakes", "tests/processes", "tests/servers")
#: Names of files that may stand twice, and why.
SHARED_NAMES = {
    # Commands are in files of their own names.
    "cancel.py": {"imagen/cli/jobs/cancel.py", "imagen/backends/replicate/purchase/cancel.py"},
    "usage.py": {"imagen/cli/money/usage.py", "imagen/domain/usage.py"},
    # An adapter's settings, and those of the Supabase project.
    "settings.py": {
        "imagen/cloud/settings.py",
        "imagen/backends/comfyui/settings.py",
        "imagen/backends/mock/settings.py",
        "imagen/backends/replicate/settings.py",
    },
}


def _modules(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in found if "__pycache__" not in path.parts)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _text_files() -> Iterator[Path]:
    folders = (*PYTHON_FOLDERS, "docs", ".ci", ".github", "deploy")
    below = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    for path in sorted([*ROOT.glob("*"), *below]):
        if path.is_file() and path.suffix in TEXT_FILES and not set(NOT_OURS) & set(path.parts):
            yield path


def test_no_file_names_the_place_where_it_was_written():
    # A checkout directly below the root ("/app") has a name that documents may use as well.
    places = [f"{ROOT}/"] if len(ROOT.parts) > 2 else []
    # Put together here, so that this file does not hold them itself.
    places += [f"{host}.org" for host in ("pypi", "pythonhosted", "test.pypi")]

    offenders = [
        f"{_name(path)}: {place}"
        for path in _text_files()
        for place in places
        if place in path.read_text(encoding="utf-8", errors="replace")
    ]

    assert offenders == []


def test_every_module_says_why_it_exists():
    modules = _modules("imagen", "workers", "migrations")

    silent = [_name(path) for path in modules if not ast.get_docstring(ast.parse(path.read_text()))]

    assert silent == []


def test_an_init_file_hands_names_on_and_computes_nothing():
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign)

    busy = [
        _name(path)
        for path in _modules("imagen", "workers", "migrations")
        if path.name == "__init__.py"
        and not all(isinstance(node, allowed) for node in ast.parse(path.read_text()).body)
    ]

    assert busy == []


def test_no_module_is_a_drawer_for_odds_and_ends():
    vague = re.compile(r"^(utils?|helpers?|common|managers?|misc)$")

    assert [_name(path) for path in _modules(*PYTHON_FOLDERS) if vague.match(path.stem)] == []


def test_no_file_is_too_long_to_read_at_once():
    lengths = {
        _name(path): len(path.read_text().splitlines()) for path in _modules(*PYTHON_FOLDERS)
    }

    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_no_folder_of_the_product_has_too_many_files():
    sizes = Counter(_name(path.parent) for path in _modules(*PRODUCT) if path.name != "__init__.py")

    assert {folder: size for folder, size in sizes.items() if size > MOST_FILES} == {}


def test_every_folder_of_unit_tests_is_that_of_a_package():
    unit = ROOT / "tests/unit"
    folders = {path.parent.relative_to(unit) for path in unit.rglob("*.py")}

    assert [str(each) for each in folders if not (ROOT / "imagen" / each).is_dir()] == []


def test_every_class_has_a_name_of_its_own():
    homes: dict[str, list[str]] = defaultdict(list)
    for path in _modules(*PRODUCT, *TEST_PARTS):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(_name(path))

    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_two_files_have_one_name_only_as_the_same_part_of_two_adapters():
    homes: dict[str, list[str]] = defaultdict(list)
    for path in _modules(*PRODUCT):
        if path.name != "__init__.py":
            homes[path.name].append(_name(path))

    shared = {
        name: set(files)
        for name, files in homes.items()
        if len(files) > 1 and len({_adapter(file) for file in files} - {None}) < len(files)
    }
    assert shared == SHARED_NAMES


def _adapter(file: str) -> str | None:
    """The adapter that a file is a part of, None for any other file."""
    found = re.match(r"imagen/backends/(\w+)/", file)
    return found[1] if found else None


@pytest.mark.parametrize("words", ["whoever", "nobody", "somebody", "or nothing"])
def test_no_sentence_of_the_product_is_about_persons_where_a_part_is_meant(words):
    holders = [path for path in _modules(*PRODUCT) if words in path.read_text().lower()]

    assert [_name(path) for path in holders] == []


@pytest.mark.parametrize(
    "loose_end", ["TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error", "pytest.mark." + "xfail"]
)
def test_nothing_is_left_for_later(loose_end):
    holders = [path for path in _modules(*PYTHON_FOLDERS) if loose_end in path.read_text()]

    assert [_name(path) for path in holders] == []


def test_nothing_is_skipped():
    skip = re.compile(r"pytest\.(skip|mark\.skip|importorskip)\b")

    assert [_name(path) for path in _modules("tests") if skip.search(path.read_text())] == []


def test_what_ci_installs_is_pinned_to_exact_versions():
    lines = (ROOT / "requirements-ci.txt").read_text().splitlines()
    requirements = [line for line in lines if line and not line.startswith("#")]

    loose = [
        line for line in requirements if not re.match(r"^[A-Za-z0-9._-]+==[^ ;]+(;.*)?$", line)
    ]

    assert loose == []
    assert len(requirements) > 50
