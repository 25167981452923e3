"""A server process for tests that ends with the process that started it, however that ends."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from typing import Self

from tests.servers.binaries import new_folder

LOOPBACK = "127.0.0.1"
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 20.0
_START_TRIES = 100

# Outlives its parent by two seconds at most, whichever way that ends, to end the server and to
# remove its folder. The pipe closes when the parent dies, even by SIGKILL. Linux's
# PR_SET_PDEATHSIG would need preexec_fn, which Python 3.12 warns about in a process with threads
# (and pytest-xdist's have some), and it goes by the death of the *thread* that started the child.
_GUARD = """
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    kill -INT "$pid" 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null
fi
rm -rf -- "$1"
"""


class ServerFailed(Exception):
    """A server did not start or did not stop; the message ends with the end of its log."""


class ServerProcess(ABC):
    """One server process on a free loopback port, with its data in a temporary folder.

    ``start``, ``stop`` and ``kill`` keep port and data, so a crash can be played through;
    ``close`` (or leaving the ``with`` block) removes both. When the process that made it dies,
    even by SIGKILL, the server ends and the folder goes.
    """

    name: str
    stop_signal: int

    def __init__(self) -> None:
        self.folder = new_folder(f"imagen-{self.name}-")
        self.log = self.folder / f"{self.name}.log"
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._has_run = False
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "sh", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The server's process id; None while it is down."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    def start(self) -> None:
        """Start it, on the same port and data as before, and wait until it answers.

        Raises:
            ServerFailed: it does not come up within a minute.
        """
        if self.pid is not None:
            raise ServerFailed(f"{self.name} runs already (pid {self.pid})")
        deadline = time.monotonic() + _START_TIMEOUT_S
        for _ in range(_START_TRIES):
            process = self._spawn()
            if self._wait_until_ready(process, deadline):
                self._has_run = True
                return
            self._forget_process()
            # Another program took the port in the meantime, or (after a kill) the last of the
            # old processes has not yet let go of the data.
            if not self._has_run:
                self.port = _free_port()
            time.sleep(0.05)
        raise ServerFailed(f"{self.name} did not start on port {self.port}\n{self._log_end()}")

    def stop(self) -> None:
        """End it as an administrator would: what was committed is on disk afterwards."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"{self.name} did not stop\n{self._log_end()}") from None
        self._forget_process()

    def kill(self) -> None:
        """End it with SIGKILL: what a power cut or the kernel's out-of-memory killer does."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(_STOP_TIMEOUT_S)
        self._forget_process()

    def close(self) -> None:
        """Stop it for good and remove its folder. Calling it twice is safe."""
        if self._closed:
            return
        self._closed = True
        try:
            self.stop()
        finally:
            if self._guard.stdin:
                with contextlib.suppress(BrokenPipeError):
                    self._guard.stdin.close()
            self._guard.wait(_STOP_TIMEOUT_S)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        user = self.user
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=plain_environment(),
                # Ctrl-C in the terminal is for the test run, which then stops its servers.
                start_new_session=True,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )
        self._tell_guard(str(self._process.pid))
        return self._process

    def _wait_until_ready(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            if self._is_ready(process.pid):
                return True
            time.sleep(0.005)
        process.kill()
        process.wait(_STOP_TIMEOUT_S)
        return False

    def _forget_process(self) -> None:
        self._process = None
        self._tell_guard("")

    def _tell_guard(self, pid: str) -> None:
        if self._guard.stdin:
            self._guard.stdin.write(f"{pid}\n".encode())
            self._guard.stdin.flush()

    def _log_end(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    @property
    def user(self) -> pwd.struct_passwd | None:
        """Whom it runs as; nothing for the user that we are."""
        return None

    @abstractmethod
    def _command(self) -> list[str]:
        """The program and its arguments; the port may differ from one call to the next."""

    @abstractmethod
    def _is_ready(self, pid: int) -> bool:
        """Whether the server with this process id, and no other, answers on the port."""


def plain_environment() -> dict[str, str]:
    """What a server may know of our environment, so that no setting of it changes a test."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
