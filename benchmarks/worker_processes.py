"""Worker processes for as long as a benchmark needs them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis

from benchmarks.bare.chain import ready_key
from benchmarks.bench import REPOSITORY, Home, wait_until
from imagen.ledger.jobs.worker_rows import live_workers
from imagen.wiring.parts import opened_ledger

_STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Worker:
    """A worker that is ready to work."""

    process: psutil.Process
    #: What its start took of the processor.
    start_cpu_s: float

    @classmethod
    def ready(cls, pid: int) -> Worker:
        process = psutil.Process(pid)
        return cls(process, _cpu_s(process))

    @property
    def cpu_s(self) -> float:
        """The processor time that its work has taken so far."""
        return _cpu_s(self.process) - self.start_cpu_s


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def imagen_worker(home: Home, role: str) -> Iterator[Worker]:
    """A worker of the user of ``home``, from when it has reported to the ledger."""
    command = [sys.executable, "-m", f"workers.{role}"]
    with _process(command, home.env, home.folder / f"{role}.log") as process:
        with opened_ledger(home.process) as ledger:

            def has_reported() -> bool:
                _check(process, home.folder / f"{role}.log")
                return any(each.role == role for each in live_workers(ledger, within_s=30))

            wait_until(has_reported, what=f"the {role} worker")
        yield Worker.ready(process.pid)


@contextmanager
def bare_worker(home: Home, role: str, *, threads: int) -> Iterator[Worker]:
    """A worker of the bare chain, from when it consumes."""
    command = [sys.executable, "-m", "benchmarks.bare.chain", role]
    env = {**home.env, "BENCH_BROKER_URL": home.broker_url, "BENCH_THREADS": str(threads)}
    with _process(command, env, home.folder / f"bare-{role}.log") as process:
        client = redis.Redis.from_url(home.broker_url)

        def is_ready() -> bool:
            _check(process, home.folder / f"bare-{role}.log")
            return bool(client.exists(ready_key(role)))

        wait_until(is_ready, what=f"the bare {role} worker")
        client.close()
        yield Worker.ready(process.pid)


@contextmanager
def _process(
    command: Sequence[str], env: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=REPOSITORY
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _check(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        raise RuntimeError(f"a worker ended with {process.returncode}:\n{log.read_text()[-2000:]}")
