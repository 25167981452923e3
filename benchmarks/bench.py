"""What every benchmark has: a folder of its own, servers that are started once, and homes."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from imagen.backends.registry import Registry
from imagen.ledger.store.engine import Ledger
from imagen.ledger.store.migrate import upgrade
from imagen.wiring.parts import opened_ledger, opened_registry, unchecked_ledger
from imagen.wiring.process import Process, open_process
from tests.servers.binaries import new_folder
from tests.servers.redis_and_postgres import PostgresServer, RedisServer

DATABASES = ("SQLite", "PostgreSQL")
HOST = "bench"
REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Home:
    """One user's imagen, apart from every other: home folder, ledger, broker, output folder."""

    folder: Path
    database_url: str = ""
    broker_url: str = ""

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def env(self) -> dict[str, str]:
        """The whole environment of a process of this user's."""
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(REPOSITORY),
            "IMAGEN_CONFIG": str(self.folder / "imagen.yaml"),
            "IMAGEN_HOST": HOST,
            "IMAGEN_DATABASE_URL": self.database_url,
            "IMAGEN_BROKER_URL": self.broker_url,
        }
        return {name: value for name, value in env.items() if value}

    def without_broker(self) -> Home:
        return Home(self.folder, self.database_url)

    @property
    def process(self) -> Process:
        """This process as one of this user's."""
        return open_process(str(self.folder / "imagen.yaml"), self.env)

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        """This process as one of this user's, with its ledger and its backends."""
        process = self.process
        with opened_ledger(process) as ledger, opened_registry(process, ledger) as registry:
            yield Opened(process, ledger, registry)


@dataclass(frozen=True)
class Opened:
    """What a benchmark submits jobs and looks at them with."""

    process: Process
    ledger: Ledger
    registry: Registry


@dataclass
class Bench:
    """One run of the benchmarks."""

    quick: bool
    folder: Path = field(default_factory=lambda: new_folder("imagen-bench-"))
    _stack: ExitStack = field(default_factory=ExitStack)
    _homes: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @cached_property
    def redis(self) -> RedisServer:
        return self._stack.enter_context(RedisServer())

    @cached_property
    def postgres(self) -> PostgresServer:
        """Commits wait for the disk, as they do by default."""
        return self._stack.enter_context(PostgresServer(fsync=True))

    def home(self, database: str, *, broker: bool = False, latency_ms: int = 0) -> Home:
        """A new, empty home with its schema made; ``latency_ms`` is how long a drawing takes."""
        self._homes += 1
        folder = self.folder / f"home{self._homes}"
        folder.mkdir()
        home = Home(
            folder,
            self.postgres.create_database() if database == "PostgreSQL" else "",
            self.redis.address.fresh_url() if broker else "",
        )
        config = {
            "default_backend": "mock",
            "backends": {"mock": {"type": "mock", "latency_ms": latency_ms}},
            "output": {"dir": str(home.output), "preview": "off", "cloud_sync": "off"},
            "results": {"allowed_dirs": [str(home.output)]},
        }
        (folder / "imagen.yaml").write_text(yaml.safe_dump(config))
        with unchecked_ledger(home.process) as ledger:
            upgrade(ledger)
        return home

    def prompts(self, number: int) -> Path:
        """A file of so many prompts, no two the same."""
        path = self.folder / f"prompts-{number}.txt"
        if not path.exists():
            with path.open("w") as file:
                for i in range(number):
                    file.write(f"a lighthouse on a cliff above a stormy sea at dawn, view {i}\n")
        return path

    def say(self, text: str) -> None:
        print(f"[bench] {text}", file=sys.stderr, flush=True)


def wait_until(
    condition: Callable[[], bool], *, what: str, timeout_s: float = 120.0, every_s: float = 0.02
) -> None:
    """Return as soon as ``condition`` holds; looks every ``every_s`` seconds.

    Raises:
        TimeoutError: it does not within ``timeout_s`` seconds.
    """
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"waited {timeout_s:g} s for {what}")
        time.sleep(every_s)
