"""The environment of a test with workers: a configuration, worker processes, and jobs."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import redis

from imagen.domain.job import JobState
from imagen.domain.scope import EVERYTHING
from imagen.ledger.queries.jobs import count_states
from imagen.ledger.queries.unfinished_jobs import has_unfinished
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.migrate import upgrade
from imagen.queue.broker.routing import KEY_PREFIX
from imagen.queue.publish.publisher import CeleryPublisher
from imagen.services.submit.prompt_file import PromptLine
from imagen.services.submit.resolve import RequestInput
from imagen.services.submit.submit_batch import BatchIdentity, BatchRun, SubmittedBatch
from imagen.wiring.parts import opened_ledger, opened_registry, submit_context, unchecked_ledger
from imagen.wiring.process import Process, open_process
from imagen.wiring.queue_parts import make_queue_publisher
from tests.processes.fork_server import ForkServer
from tests.processes.forked_worker import DIE_AT, SKEW_S
from tests.processes.kill_points import KillPoint
from tests.processes.worker_process import WorkerProcess
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
HOST = "studio"

#: Short leases and waits, so that a test is over soon.
SHORT_LEASES: Mapping[str, Any] = {
    "lease_s": 3,
    "heartbeat_s": 0.5,
    "grace_s": 2,
    "reconcile_s": 0.3,
    "backoff_base_s": 0.1,
    "backoff_max_s": 1,
    "check_s": 0.3,
}

Backends = Mapping[str, Mapping[str, Any]]


@dataclass
class Environment:
    """A folder with a configuration in it, and the processes that use it.

    Attributes:
        database_url: a PostgreSQL database; "" for a SQLite file in the folder.
        workers, backends: the blocks of these names in the configuration.
        backends_of: ``backends`` of single hosts, where they differ.
        settings: further blocks.
        secrets: variables that every process gets besides the usual ones.
        processes: every worker so far, ended ones included.
        submitted: how many prompts ``submit`` has taken.

    Every host has a home and a state folder of its own.
    """

    folder: Path
    redis_url: str
    database_url: str = ""
    workers: Mapping[str, Any] = field(default_factory=lambda: SHORT_LEASES)
    backends: Backends = field(default_factory=lambda: {"mock": {"type": "mock"}})
    backends_of: Mapping[str, Backends] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    processes: list[WorkerProcess] = field(default_factory=list)
    submitted: int = 0
    _own: dict[str, Process] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)
    _fork_server: ForkServer = field(default_factory=lambda: ForkServer(ROOT))

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.output.mkdir(exist_ok=True)
        self._write_config(self.config_path, self.backends)
        for host, backends in self.backends_of.items():
            self._write_config(self.folder / f"{host}.yaml", backends)
        with unchecked_ledger(self.process()) as ledger:
            upgrade(ledger)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.processes:
            if worker.is_alive:
                worker.kill()
        self._fork_server.close()
        self._stack.close()

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def config_path(self) -> Path:
        return self.folder / "imagen.yaml"

    def _write_config(self, path: Path, backends: Backends) -> None:
        # JSON is YAML.
        content = {
            "default_backend": next(iter(backends)),
            "backends": backends,
            "output": {"dir": str(self.output), "naming": "{slug}.{ext}", "preview": "off"},
            "results": {"allowed_dirs": [str(self.folder)]},
            "workers": self.workers,
            **self.settings,
        }
        path.write_text(json.dumps(content, indent=1))

    def variables(self, host: str = HOST) -> dict[str, str]:
        """The environment variables of a process of ``host``; none of ours but PATH."""
        home = self.folder / "hosts" / host
        home.mkdir(parents=True, exist_ok=True)
        own_config = self.folder / f"{host}.yaml"
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(ROOT),
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "LC_ALL": "C.UTF-8",
            "PYTHONWARNINGS": "default",
            "IMAGEN_CONFIG": str(own_config if host in self.backends_of else self.config_path),
            "IMAGEN_BROKER_URL": self.redis_url,
            "IMAGEN_DATABASE_URL": self.database_url or f"sqlite:///{self.folder}/ledger/ledger.db",
            "IMAGEN_HOST": host,
            **self.secrets,
        }

    def process(self, host: str = HOST) -> Process:
        """This process as one of ``host``."""
        if host not in self._own:
            self._own[host] = open_process(None, self.variables(host))
        return self._own[host]

    @cached_property
    def ledger(self) -> Ledger:
        return self._stack.enter_context(opened_ledger(self.process()))

    @cached_property
    def publisher(self) -> CeleryPublisher:
        return make_queue_publisher(self.process(), self.ledger)

    # Workers.

    def start(
        self,
        role: str,
        *,
        host: str = HOST,
        point: KillPoint | None = None,
        number: int = 1,
        skew_s: float = 0.0,
    ) -> WorkerProcess:
        """Start a worker; it dies at the ``number``-th call of ``point`` or soon after."""
        variables = self.variables(host)
        if point is not None:
            variables[DIE_AT] = f"{point.side} {point.target} {number}"
        if skew_s:
            variables[SKEW_S] = str(skew_s)
        log = self.folder / f"{role}-{len(self.processes)}.log"
        pid = self._fork_server.start(role, environment=variables, folder=self.folder, log=log)
        worker = WorkerProcess(role, host, pid, self._fork_server, log, point)
        self.processes.append(worker)
        return worker

    def start_ready(self, role: str, **options: Any) -> WorkerProcess:
        """Start a worker and wait until it serves its queue."""
        worker = self.start(role, **options)
        worker.wait_ready()
        return worker

    def stop(self, processes: Iterable[WorkerProcess]) -> list[int]:
        """SIGTERM to all of them at once; returns their exit statuses."""
        ending = list(processes)
        for worker in ending:
            # Before it serves, a signal ends a process at once.
            worker.wait_ready()
        for worker in ending:
            worker.send(signal.SIGTERM)
        return [worker.wait() for worker in ending]

    # Jobs.

    def submit(
        self,
        prompts: Iterable[str],
        *,
        backend: str = "",
        host: str = HOST,
        size: str = "64x64",
        seed: int = 0,
        name: str = "",
    ) -> SubmittedBatch:
        """Accept prompts as a batch does; the maintenance of the workers sends the wake-ups.

        All get the same seed where one is given.
        """
        process = self.process(host)
        request = RequestInput(prompt="", backend=backend, size=size, seed=seed)
        now = datetime.now().astimezone()
        lines = []
        for prompt in prompts:
            self.submitted += 1
            lines.append(PromptLine(self.submitted, self.submitted, prompt))
        key = f"name:{name or f'batch {self.submitted}'}"
        with opened_registry(process, self.ledger) as registry:
            run = BatchRun(self.ledger, submit_context(process), registry, request, now)
            return run.submit(lines, BatchIdentity(key, name or "chaos"))

    def states(self) -> dict[JobState, int]:
        """How many jobs are in each state; states without jobs are left out."""
        return count_states(self.ledger, EVERYTHING)

    def count_ended(self) -> int:
        """How many jobs are in a final state."""
        return sum(number for state, number in self.states().items() if state.is_terminal)

    def wait_for_all(self, *, timeout_s: float = 600.0) -> None:
        """Block until every job is in a final state."""
        wait_until(
            lambda: not has_unfinished(self.ledger, EVERYTHING),
            what="every job is over",
            timeout_s=timeout_s,
        )

    def count_messages(self, *queues: str) -> int:
        """How many messages wait in these queues, or in all of them."""
        with redis.Redis.from_url(self.redis_url) as client:
            return sum(
                int(client.llen(f"{KEY_PREFIX}{queue}"))
                for queue in queues or ("gpu", "cloud", f"results.{HOST}")
            )
