"""Whether a process of this host is alive: each holds a lock on a file named by its owner id.

The kernel drops the lock with the process, whatever killed it, so its leases are given back at
once instead of after they run out. Other hosts are judged by the lease alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from imagen.errors import ConfigError


def new_owner(host: str) -> str:
    """An owner id that no other process start has."""
    return f"{host}:{os.getpid()}:{secrets.token_hex(4)}"


@dataclass
class ProcessLock:
    """This process's lock file; the lock goes with the process."""

    path: Path
    handle: int

    def leave(self) -> None:
        """Release the lock on a clean end, when this process holds no lease any more."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        os.close(self.handle)


def enter(folder: Path, owner: str) -> ProcessLock:
    """Take the lock of ``owner`` in ``folder``, made when missing.

    Raises:
        ConfigError: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _take_lock(folder, folder / _file_name(owner))
    except OSError as error:
        raise ConfigError(
            f"cannot write in {folder}: {error.strerror}",
            "make it writable, or set XDG_STATE_HOME to a folder that is",
        ) from error


def _take_lock(folder: Path, path: Path) -> ProcessLock:
    while True:
        # Locked before it gets its name: no process may find it unlocked in between.
        newborn = folder / f".{secrets.token_hex(8)}"
        handle = os.open(newborn, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            newborn.rename(path)
        except FileNotFoundError:
            # A sweep found it before it was locked.
            os.close(handle)
            continue
        return ProcessLock(path, handle)


def dead_among(folder: Path, owners: Iterable[str]) -> set[str]:
    """Those of ``owners`` that ran on this host and are gone.

    An owner without a file here is of another host (or container), and is left out.
    """
    return {owner for owner in owners if _is_unlocked(folder / _file_name(owner))}


def alive_among(folder: Path, owners: Iterable[str]) -> set[str]:
    """Those of ``owners`` that run on this host, stopped ones included."""
    present = {owner for owner in owners if (folder / _file_name(owner)).exists()}
    return present - dead_among(folder, present)


def dead_in(folder: Path) -> set[str]:
    """The owners with a file in ``folder`` that are gone."""
    with contextlib.suppress(FileNotFoundError):
        names = [entry.name for entry in os.scandir(folder)]
        return {unquote(name) for name in names if _is_unlocked(folder / name)}
    return set()


def sweep(folder: Path, *, still_leasing: Iterable[str]) -> None:
    """Remove the files of dead processes that hold no lease any more."""
    leasing = set(still_leasing)
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if unquote(entry.name) not in leasing and _is_unlocked(Path(entry.path)):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)


def _file_name(owner: str) -> str:
    return quote(owner, safe=":@")


def _is_unlocked(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
