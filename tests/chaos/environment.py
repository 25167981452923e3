"""Where it plays: one configuration, worker processes that can be killed, jobs to be drawn."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from imagen.ledger.store.migrate import upgrade
from imagen.services.submit.prompt_file import PromptLine
from imagen.services.submit.resolve import RequestInput
from imagen.services.submit.submit_batch import BatchIdentity, BatchRun, SubmittedBatch
from imagen.wiring.bootstrap import Imagen, open_imagen
from tests.chaos.fork_server import ForkServer
from tests.chaos.forked_worker import DIE_AT, SKEW_S
from tests.chaos.kill_points import KillPoint

ROOT = Path(__file__).resolve().parents[2]
HOST = "studio"

#: Leases that run out soon, so that a run is over soon.
SHORT_LEASES: Mapping[str, Any] = {
    "lease_s": 3,
    "heartbeat_s": 0.5,
    "grace_s": 2,
    "reconcile_s": 0.3,
    "backoff_base_s": 0.1,
    "backoff_max_s": 1,
    "check_s": 0.3,
}


def wait_until(claim: Callable[[], object], *, what: str, timeout_s: float = 30.0) -> None:
    """Block until ``claim`` is true.

    Raises:
        AssertionError: it is not after ``timeout_s`` seconds.
    """
    deadline_s = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < deadline_s, f"not so after {timeout_s:g} s: {what}"
        time.sleep(0.02)


@dataclass
class WorkerProcess:
    """One worker process."""

    role: str
    host: str
    pid: int
    fork_server: ForkServer
    log: Path
    point: KillPoint | None = None
    stopped: bool = False
    killed: bool = False
    started_s: float = field(default_factory=time.monotonic)

    @property
    def owner_prefix(self) -> str:
        """How its owner id in the ledger begins."""
        return f"{self.host}:{self.pid}:"

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; nothing while it lives."""
        return self.fork_server.status(self.pid)

    @property
    def is_alive(self) -> bool:
        return self.status is None

    def send(self, number: signal.Signals) -> None:
        # Not reaped before we ask, so the id is nobody else's.
        if self.is_alive:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.killed = True
        self.send(signal.SIGKILL)
        self.wait()

    def wait(self, *, timeout_s: float = 30.0) -> int:
        """The exit status, once there is one."""
        wait_until(lambda: not self.is_alive, what=f"{self.role} ends", timeout_s=timeout_s)
        status = self.status
        assert status is not None
        return status

    def terminate(self, *, timeout_s: float = 30.0) -> int:
        """SIGTERM, and wait for the end; the exit status is what you get."""
        self.send(signal.SIGTERM)
        return self.wait(timeout_s=timeout_s)

    def said(self, text: str) -> bool:
        """Whether its log holds this."""
        return self.log.exists() and text in self.log.read_text(errors="replace")


@dataclass
class Environment:
    """A folder with a configuration in it, and the processes that work by it.

    ``backends`` and the other settings are what stands in the file of that name; every host has a
    home and a state folder of its own.
    """

    folder: Path
    redis_url: str
    database_url: str = ""
    workers: Mapping[str, Any] = field(default_factory=lambda: SHORT_LEASES)
    backends: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {"mock": {"type": "mock"}}
    )
    settings: Mapping[str, Any] = field(default_factory=dict)
    processes: list[WorkerProcess] = field(default_factory=list)
    _opened: dict[str, Imagen] = field(default_factory=dict)
    _positions: int = 0
    _fork_server: ForkServer = field(default_factory=lambda: ForkServer(ROOT))

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.output.mkdir(exist_ok=True)
        self.write_config()
        imagen = self.imagen()
        ledger = imagen.open_ledger()
        upgrade(ledger)
        ledger.close()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.processes:
            if worker.is_alive:
                worker.kill()
        self._fork_server.close()
        for imagen in self._opened.values():
            imagen.close()

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def config_path(self) -> Path:
        return self.folder / "imagen.yaml"

    def write_config(self) -> None:
        # JSON is YAML.
        content = {
            "default_backend": next(iter(self.backends)),
            "backends": self.backends,
            "output": {"dir": str(self.output), "naming": "{slug}.{ext}", "preview": "off"},
            "results": {"allowed_dirs": [str(self.folder)]},
            "workers": self.workers,
            **self.settings,
        }
        self.config_path.write_text(json.dumps(content, indent=1))

    def variables(self, host: str = HOST) -> dict[str, str]:
        """What a process of ``host`` gets; nothing of our own environment."""
        home = self.folder / "hosts" / host
        home.mkdir(parents=True, exist_ok=True)
        database = self.database_url or f"sqlite:///{self.folder}/ledger/ledger.db"
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(ROOT),
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "LC_ALL": "C.UTF-8",
            "PYTHONWARNINGS": "default",
            "IMAGEN_CONFIG": str(self.config_path),
            "IMAGEN_BROKER_URL": self.redis_url,
            "IMAGEN_DATABASE_URL": database,
            "IMAGEN_HOST": host,
        }

    def imagen(self, host: str = HOST) -> Imagen:
        """This process as one of ``host``."""
        if host not in self._opened:
            self._opened[host] = open_imagen(None, self.variables(host))
        return self._opened[host]

    def start(
        self,
        role: str,
        *,
        host: str = HOST,
        point: KillPoint | None = None,
        number: int = 1,
        skew_s: float = 0.0,
    ) -> WorkerProcess:
        """Begin a worker; it may die at the ``number``-th call of ``point``."""
        environment = self.variables(host)
        if point is not None:
            environment[DIE_AT] = f"{point.side} {point.target} {number}"
        if skew_s:
            environment[SKEW_S] = str(skew_s)
        log = self.folder / f"{role}-{len(self.processes)}.log"
        pid = self._fork_server.start(role, environment=environment, folder=self.folder, log=log)
        worker = WorkerProcess(role, host, pid, self._fork_server, log, point)
        self.processes.append(worker)
        return worker

    def start_ready(self, role: str, **options: Any) -> WorkerProcess:
        """Begin a worker and wait until it serves its queue."""
        worker = self.start(role, **options)
        self.wait_ready(worker)
        return worker

    def wait_ready(self, *processes: WorkerProcess) -> None:
        for worker in processes:
            wait_until(
                lambda worker=worker: worker.said("ready.") or not worker.is_alive,
                what=f"{worker.role} is ready",
                timeout_s=60,
            )
            assert worker.is_alive, worker.log.read_text()[-3000:]

    def stop(self, processes: Iterable[WorkerProcess]) -> list[int]:
        """SIGTERM to all of them at once; the exit statuses are what you get."""
        ending = list(processes)
        # Before it serves, a signal ends a process on the spot.
        self.wait_ready(*ending)
        for worker in ending:
            worker.send(signal.SIGTERM)
        return [worker.wait() for worker in ending]

    def submit(
        self,
        prompts: Iterable[str],
        *,
        backend: str = "",
        host: str = HOST,
        size: str = "64x64",
        name: str = "",
    ) -> SubmittedBatch:
        """Accept prompts as a batch does; the workers' own caretakers send the wake-ups."""
        imagen = self.imagen(host)
        run = BatchRun(
            imagen.ledger,
            imagen.submit_context(),
            imagen.registry,
            RequestInput(prompt="", backend=backend, size=size),
            datetime.now().astimezone(),
        )
        lines = []
        for prompt in prompts:
            self._positions += 1
            lines.append(PromptLine(self._positions, self._positions, prompt))
        key = f"name:{name or f'batch {self._positions}'}"
        return run.submit(lines, BatchIdentity(key, name or "chaos"))
