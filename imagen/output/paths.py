"""Checks the paths that an image may be written to: a job may come from another user or host."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from imagen.domain.request import FORMAT_BY_SUFFIX
from imagen.errors import RequestError

#: Limits of Linux; its limits.h has 4,096 with the NUL at the end.
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 4_095
#: ``.imagen-``, a job's id and a random number in hexadecimal, and ``.tmp``: see ``write_temp``.
_TEMP_NAME_BYTES = 61
#: A name that is taken gets ``-2`` … ``-999999``.
_NUMBER_BYTES = 7


def check_length(path: Path | str, *, sidecar: bool, numbered: bool = False) -> None:
    """Checks that a file system can hold the image at ``path`` and the files beside it.

    Beside it are the sidecar, ``NAME.json``, and a temporary file while it is written. With
    ``numbered`` the name may still get a number. Does not read the disk.

    Raises:
        RequestError: one of the names, or the whole path, is too long.
    """
    path = Path(path)
    more = (len(".json") if sidecar else 0) + (_NUMBER_BYTES if numbered else 0)
    folders = [_size_of(part) for part in path.parts[:-1]]
    name_bytes = _size_of(path.name) + more
    # The sidecar's name counts: a delivery writes both files.
    if max(name_bytes, *folders) > MAX_NAME_BYTES:
        beside = " with the .json of its sidecar" if sidecar and name_bytes > MAX_NAME_BYTES else ""
        raise RequestError(
            f"output {_clipped(path)} is too long: a name{beside} may have {MAX_NAME_BYTES} bytes",
            "choose a shorter name",
        )
    if _size_of(str(path.parent)) + 1 + max(name_bytes, _TEMP_NAME_BYTES) > MAX_PATH_BYTES:
        raise RequestError(
            f"output {_clipped(path)} is too long: a path may have {MAX_PATH_BYTES:,} bytes",
            "choose a folder that is less deep",
        )


def _size_of(text: str) -> int:
    return len(text.encode(errors="surrogateescape"))


def _clipped(path: Path) -> str:
    text = str(path)
    return repr(text if len(text) <= 80 else f"{text[:38]}…{text[-38:]}")


def check_target(path: Path | str, *, allowed_dirs: Sequence[Path] | None) -> Path:
    """The absolute path, symlinks resolved, where an image may be written.

    ``allowed_dirs``: the folders it must lie below, without a hidden file or folder on the way
    down; None means any path, which is for a user's own command. Creates nothing; folders
    need not exist yet. The file's suffix must be that of an image, ``{ext}`` filled in.

    Raises:
        RequestError: the path is not allowed, or exists and is no regular file.
    """
    path = Path(path)
    _check_suffix(path, path)
    real = _resolve(path)
    # A symlink called fox.png may lead to .bashrc.
    _check_suffix(real, path)
    if allowed_dirs is not None:
        _check_allowed(real, path, allowed_dirs)
    _check_vacant(real, path)
    return real


def _check_suffix(real: Path, given: Path) -> None:
    if real.suffix.lower() in FORMAT_BY_SUFFIX:
        return
    leads = "" if real == given else f" leads to {str(real)!r}, which"
    raise RequestError(
        f"output {str(given)!r}{leads} does not end in an image suffix",
        f"use one of {', '.join(FORMAT_BY_SUFFIX)}",
    )


def _resolve(path: Path) -> Path:
    try:
        return path.resolve()
    # Python 3.11 and 3.12 report a circle of symlinks as RuntimeError; a NUL is a ValueError.
    except (OSError, RuntimeError, ValueError) as exc:
        raise RequestError(
            f"output {str(path)!r} cannot be followed: {_reason(exc)}", "choose another path"
        ) from exc


def _check_allowed(real: Path, given: Path, allowed_dirs: Sequence[Path]) -> None:
    below = [
        real.relative_to(folder)
        for folder in _resolve_all(allowed_dirs)
        if real.is_relative_to(folder)
    ]
    if not below:
        names = ", ".join(str(folder) for folder in allowed_dirs) or "none"
        raise RequestError(
            f"output {str(given)!r} is outside the folders that images may go to ({names})",
            "choose a path below one of them, or add its folder to results.allowed_dirs",
        )
    if not any(_is_visible(relative) for relative in below):
        raise RequestError(
            f"output {str(given)!r} is a hidden file or lies in a hidden folder",
            "choose another path, or add its folder to results.allowed_dirs",
        )


def _resolve_all(folders: Iterable[Path]) -> list[Path]:
    return [_resolve(folder.expanduser()) for folder in folders]


def _is_visible(relative: Path) -> bool:
    return not any(part.startswith(".") for part in relative.parts)


def _check_vacant(real: Path, given: Path) -> None:
    """Checks that the path is a regular file or does not exist."""
    try:
        mode = real.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return _check_folders(real, given)
    except OSError as exc:
        raise RequestError(
            f"output {str(given)!r} cannot be used: {_reason(exc)}", "choose another path"
        ) from exc
    if stat.S_ISDIR(mode):
        raise RequestError(
            f"output {str(given)!r} is a folder", f"name a file in it: {given / 'image.png'}"
        )
    if not stat.S_ISREG(mode):
        raise RequestError(
            f"output {str(given)!r} exists and is no regular file", "choose another path"
        )
    return None


def _check_folders(real: Path, given: Path) -> None:
    """Checks that the nearest existing path above is a folder."""
    for folder in real.parents:
        if folder.is_dir():
            return
        if folder.exists():
            raise RequestError(
                f"output {str(given)!r} needs the folder {str(folder)!r}, which is a file",
                "choose another path",
            )


def _reason(exc: Exception) -> str:
    return (exc.strerror if isinstance(exc, OSError) else "") or str(exc)
