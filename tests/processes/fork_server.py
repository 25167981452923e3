"""A fork server: imports everything once and forks each worker process from there.

Otherwise the successor of a killed worker would import for two seconds, and most kills would hit
a process that has not begun to work. Run as ``python -m tests.processes.fork_server``; it ends
with its parent.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.processes import forked_worker

_PRELOADED = (
    "imagen.backends.mock.backend",
    "imagen.queue.broker.connection",
    "imagen.queue.publish.publisher",
    "imagen.queue.worker.maintenance",
    "imagen.queue.worker.program",
    "imagen.wiring.worker_parts",
    "imagen.wiring.worker_programs",
    "celery.app.trace",
    "celery.apps.worker",
    "celery.bin.worker",
    "celery.concurrency.thread",
    "celery.events.state",
    "celery.worker.consumer",
    "celery.worker.worker",
    "kombu.transport.redis",
    "PIL.PngImagePlugin",
    "limits",
    "psycopg",
    "redis",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "yaml",
)


def main() -> None:
    forked_worker.die_with_parent()
    forked_worker.make_clock_adjustable()
    # psycopg's C part warns that datetime has been replaced.
    warnings.filterwarnings("ignore", "datetime.datetime size changed")
    for name in _PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        answer = _start(asked) if "role" in asked else _status(asked["pid"])
        print(json.dumps(answer), flush=True)


def _start(asked: dict[str, Any]) -> dict[str, Any]:
    pid = os.fork()
    if pid:
        return {"pid": pid}
    _run_child(asked)
    raise AssertionError("the child process ends in _run_child")


def _run_child(asked: dict[str, Any]) -> None:
    forked_worker.die_with_parent()
    os.setsid()
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    no_input = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((no_input, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    status = 70
    try:
        forked_worker.run_worker(asked["role"])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _status(pid: int) -> dict[str, Any]:
    found, status = os.waitpid(pid, os.WNOHANG)
    return {"status": os.waitstatus_to_exitcode(status) if found else None}


@dataclass
class ForkServer:
    """The other end: starts the fork server when the first process is asked for."""

    root: Path
    _process: subprocess.Popen[str] | None = None
    _ended: dict[int, int] = field(default_factory=dict)

    def start(self, role: str, *, environment: dict[str, str], folder: Path, log: Path) -> int:
        """The process id of a new worker."""
        asked = {
            "role": role,
            "environment": environment,
            "folder": str(folder),
            "log": str(log),
        }
        return int(self._ask(asked)["pid"])

    def status(self, pid: int) -> int | None:
        """The exit status, as subprocess gives it; None while the process runs."""
        if pid not in self._ended:
            status = self._ask({"pid": pid})["status"]
            if status is None:
                return None
            self._ended[pid] = int(status)
        return self._ended[pid]

    def close(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate()
        self._process = None

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.processes.fork_server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=self.root,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the fork server has ended"
        found: dict[str, Any] = json.loads(answer)
        return found


if __name__ == "__main__":
    main()
