"""Writes files atomically: after a power cut a name stands for a whole file or does not exist.

The order is: ``write_temp``, ``sync_files``, ``move_into_place``, ``sync_folder``. Temporary files
are dot-files in the same folder, so that one rename makes them the real file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from imagen.errors import DeliveryError, DiskFull

# Errors of ``link`` where hard links are impossible: FAT and most network file systems have
# none, and the kernel's protected_hardlinks refuses some. Source: link(2).
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

_HINTS = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "your disk quota is used up; free some space there",
    errno.EFBIG: "the file size limit of this process or file system is too low (see: ulimit -f)",
    errno.EACCES: "make the folder writable for this user, or choose another output folder",
    errno.EPERM: "make the folder writable for this user, or choose another output folder",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.EISDIR: "a folder stands there; choose another name",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another output folder",
    errno.EEXIST: "a file stands where a folder is needed; choose another output folder",
    errno.ENAMETOOLONG: "shorten output.naming or --output",
}


def write_temp(folder: Path, data: bytes, *, tag: str) -> Path:
    """A new temporary file of ``data`` in ``folder``, which is made if needed; not synced yet.

    ``tag`` (letters, digits, "-", "_") names the writer, for ``sweep_temps``.

    Raises:
        DeliveryError: it could not be written; no part of it is left. ``DiskFull`` where there is
            no space.
    """
    temp = folder / f".imagen-{_plain_tag(tag)}-{secrets.token_hex(8)}.tmp"
    try:
        try:
            handle = _create(temp)
        except FileNotFoundError:
            _make_folders(folder)
            handle = _create(temp)
        try:
            _write_all(handle, data)
        except OSError:
            discard(temp)
            raise
        finally:
            os.close(handle)
    except OSError as exc:
        raise _explain(exc, f"cannot write to {folder}") from exc
    return temp


def sync_files(paths: Iterable[Path]) -> None:
    """Sync the contents of these files to the disk. Blocks for as long as the disk takes.

    Raises:
        DeliveryError: one of them could not be synced; it names the first.
    """
    for path in paths:
        try:
            _sync(path, os.O_RDONLY)
        except OSError as exc:
            raise _explain(exc, f"cannot save {path}") from exc


def move_into_place(temp: Path, final: Path, *, replace: bool) -> None:
    """Give the temporary file its final name, atomically.

    Raises:
        FileExistsError: the name is taken, and ``replace`` is off; ``temp`` is still there and
            may get another name.
        DeliveryError: it failed; ``temp`` was removed.
    """
    try:
        if replace:
            temp.replace(final)
        else:
            _move_new(temp, final)
    except FileExistsError:
        raise
    except OSError as exc:
        discard(temp)
        raise _explain(exc, f"cannot write {final}") from exc


def sync_folder(folder: Path) -> None:
    """Sync the names in this folder to the disk.

    Raises:
        DeliveryError: the folder cannot be opened, or the disk failed.
    """
    try:
        _sync(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        # Some network file systems cannot sync folders and need not; a drop-box folder may be
        # written to but not opened.
        if exc.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):
            raise _explain(exc, f"cannot save the folder {folder}") from exc


def discard(temp: Path) -> None:
    """Remove the temporary file, if there is one; never raises."""
    with contextlib.suppress(OSError):
        temp.unlink()


def sweep_temps(folder: Path, tag: str) -> int:
    """Remove the temporary files of ``tag`` from ``folder``; says how many there were.

    For those of a killed process: call it only while no process writes with that tag.
    """
    prefix = f".imagen-{_plain_tag(tag)}-"
    swept = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and re.fullmatch(
                r"[0-9a-f]{16}\.tmp", entry.name.removeprefix(prefix)
            ):
                discard(Path(entry.path))
                swept += 1
    return swept


def _move_new(temp: Path, final: Path) -> None:
    try:
        os.link(temp, final)
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
    else:
        temp.unlink()
        return
    # Without hard links: reserve the name with an empty file, which fails where it is taken,
    # then rename the whole file over it. Copying into it could be cut off half-way.
    os.close(_create(final))
    try:
        temp.replace(final)
    except OSError:
        discard(final)
        raise


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


def _write_all(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


def _make_folders(folder: Path) -> None:
    """Make the folder and those above it, and sync them, so that they survive a crash."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        sync_folder(new.parent)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain_tag(tag: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", tag) or "_"


def _explain(exc: OSError, what: str) -> DeliveryError:
    hint = _HINTS.get(exc.errno or 0, "the image is kept; then: imagen jobs retry ID")
    cls = DiskFull if exc.errno in _FULL else DeliveryError
    return cls(f"{what}: {exc.strerror or exc}", hint)
