"""One worker process: its state, its log, and the signals that it is sent."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.processes.fork_server import ForkServer
from tests.processes.kill_points import KillPoint
from tests.waiting import wait_until


@dataclass
class WorkerProcess:
    """A process of the fork server's; ``point`` is where it is made to die, None for nowhere."""

    role: str
    host: str
    pid: int
    fork_server: ForkServer
    log: Path
    point: KillPoint | None = None
    #: It has SIGSTOP, and no SIGCONT since.
    is_stopped: bool = False
    #: It was killed by ``kill``, not by itself at its point.
    is_killed: bool = False
    started_s: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        return f"{self.role} {self.pid}"

    @property
    def owner_prefix(self) -> str:
        """How its owner id in the ledger begins."""
        return f"{self.host}:{self.pid}:"

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self.fork_server.status(self.pid)

    @property
    def is_alive(self) -> bool:
        return self.status is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; does nothing once the process has ended."""
        # The fork server reaps it only when asked, so the id cannot belong to another process.
        if self.is_alive:
            os.kill(self.pid, number)

    def freeze(self) -> None:
        """SIGSTOP."""
        self.send(signal.SIGSTOP)
        self.is_stopped = True

    def thaw(self) -> None:
        """SIGCONT."""
        self.is_stopped = False
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.is_killed = True
        self.send(signal.SIGKILL)
        self.wait()

    def terminate(self, *, timeout_s: float = 30.0) -> int:
        """SIGTERM, and wait for the end; returns the exit status."""
        self.send(signal.SIGTERM)
        return self.wait(timeout_s=timeout_s)

    def wait(self, *, timeout_s: float = 30.0) -> int:
        """Block until the process has ended; returns the exit status."""
        wait_until(lambda: not self.is_alive, what=f"{self.role} ends", timeout_s=timeout_s)
        status = self.status
        assert status is not None
        return status

    def wait_ready(self) -> None:
        """Block until the process serves its queue.

        Raises:
            AssertionError: it has ended instead; the message holds the end of its log.
        """
        wait_until(
            lambda: self.said("ready.") or not self.is_alive,
            what=f"{self.role} is ready",
            timeout_s=60,
        )
        assert self.is_alive, self.log.read_text()[-3000:]

    def said(self, text: str) -> bool:
        """Whether its log holds this text."""
        return self.log.exists() and text in self.log.read_text(errors="replace")
