"""Brings forth worker processes quickly: everything is imported once, then each is forked.

A killed worker's successor would otherwise spend two seconds importing, and most kills would hit
somebody who has not begun. Run as ``python -m tests.chaos.fork_server``; ends with its parent.
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

from tests.chaos import forked_worker as worker

_PRELOADED = (
    *(
        "imagen.wiring.bootstrap",
        "imagen.queue.worker.program",
        "imagen.queue.publish.publisher",
        "imagen.wiring.queue_parts",
    ),
    *(
        "imagen.queue.worker.maintenance",
        "imagen.queue.broker.connection",
        "imagen.backends.mock.backend",
    ),
    *(
        "celery.apps.worker",
        "celery.bin.worker",
        "celery.concurrency.thread",
        "kombu.transport.redis",
    ),
    *("celery.worker.worker", "celery.worker.consumer", "celery.app.trace", "celery.events.state"),
    *("psycopg", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql.psycopg"),
    *("PIL.PngImagePlugin", "redis", "yaml", "limits"),
)


def main() -> None:
    worker.die_with_parent()
    worker.make_clock_adjustable()
    # psycopg's C part remarks that datetime is ours.
    warnings.filterwarnings("ignore", "datetime.datetime size changed")
    for name in _PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        answer = _start(order) if "role" in order else _status(order["pid"])
        print(json.dumps(answer), flush=True)


def _start(order: dict[str, Any]) -> dict[str, Any]:
    pid = os.fork()
    if pid:
        return {"pid": pid}
    _become(order)
    raise AssertionError("a worker never comes back here")


def _become(order: dict[str, Any]) -> None:
    worker.die_with_parent()
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    status = 70
    try:
        worker.act(order["role"])
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
    """The other end: asks for processes, and how they ended."""

    root: Path
    _process: subprocess.Popen[str] | None = None
    _ended: dict[int, int] = field(default_factory=dict)

    def start(self, role: str, *, environment: dict[str, str], folder: Path, log: Path) -> int:
        """The process id of a new worker."""
        order = {
            **{"role": role, "environment": environment},
            **{"folder": str(folder), "log": str(log)},
        }
        return int(self._ask(order)["pid"])

    def status(self, pid: int) -> int | None:
        """The exit status, as of subprocess; nothing while it lives."""
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

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.fork_server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=self.root,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the nursery has died"
        found: dict[str, Any] = json.loads(answer)
        return found


if __name__ == "__main__":
    main()
